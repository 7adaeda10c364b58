//! Steps back from the processor, so that what serves traffic comes first.

/// How far capture steps back (nice(2)) from the traffic beside it: where the processor is contended it
/// gets about a tenth of a share, and is interrupted at once.
pub const BEHIND_TRAFFIC: i32 = 10;

/// Lowers the priority of the calling thread, and of the threads that it starts from now on. There is
/// no way back. Refused, it works at full weight.
pub fn step_back(niceness: i32) {
    rustix::process::nice(niceness).ok();
}

/// Gives the calling thread only what nobody else wants of the processor (`SCHED_IDLE`, sched(7)): anything else
/// interrupts it at once, which niceness does not promise. For work that need not be done at all.
pub fn step_aside() {
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id,
    };
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    // Refused, it works at the weight it has.
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle).ok();
}

#[cfg(test)]
mod tests {
    use std::thread;

    fn niceness() -> i32 {
        rustix::process::nice(0).unwrap()
    }

    #[test]
    fn a_thread_that_steps_aside_is_idle_and_the_others_are_not() {
        let policy = || thread_priority::thread_schedule_policy().unwrap();
        let before = policy();
        let inside = thread::spawn(move || {
            super::step_aside();
            policy()
        });
        let idle = thread_priority::NormalThreadSchedulePolicy::Idle;
        assert_eq!(inside.join().unwrap(), thread_priority::ThreadSchedulePolicy::Normal(idle));
        assert_eq!(policy(), before);
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
