//! Steps back from the processor, so that what serves traffic comes first.

/// How far capture steps back (nice(2)) from the traffic beside it: where the processor is contended it
/// gets about a tenth of a share, and is interrupted at once.
pub const BEHIND_TRAFFIC: i32 = 10;

/// Lowers the priority of the calling thread, and of the threads that it starts from now on. There is
/// no way back. Refused, it works at full weight.
pub fn step_back(niceness: i32) {
    rustix::process::nice(niceness).ok();
}

#[cfg(test)]
mod tests {
    use std::thread;

    fn niceness() -> i32 {
        rustix::process::nice(0).unwrap()
    }

    #[test]
    fn a_thread_steps_back_with_its_children_and_leaves_the_others_as_they_are() {
        let before = niceness();
        let inside = thread::spawn(|| {
            super::step_back(3);
            [niceness(), thread::spawn(niceness).join().unwrap()]
        });
        assert_eq!(inside.join().unwrap(), [before + 3; 2]);
        assert_eq!(niceness(), before);
    }
}
