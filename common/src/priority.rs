//! Steps back from the processor, so that what serves traffic comes first.

/// How far capture steps back (nice(2)) from the traffic beside it: where the processor is contended it
/// gets about a tenth of a share, and is interrupted at once.
pub const BEHIND_TRAFFIC: i32 = 10;

/// Lowers the priority of the calling thread, and of the threads that it starts from now on, and asks for long slices of
/// time: whoever wakes with a shorter one need not wait for the end of it. There is no way back. Refused, it works at
/// full weight.
pub fn step_back(niceness: i32) {
    if let Ok(now) = rustix::process::nice(niceness) {
        slice::lengthen(now);
    }
}

#[expect(unsafe_code, reason = "no crate of the workspace has this call")]
mod slice {
    use nix::libc;

    /// The longest there is.
    const SLICE_NS: u64 = 100_000_000;
    /// `SCHED_ATTR_SIZE_VER0`: of the first version of the struct, which every kernel knows.
    const SIZE: u32 = 48;
    const _: () = assert!(size_of::<libc::sched_attr>() == SIZE as usize);

    /// Asks the scheduler (EEVDF, from Linux 6.12 on) for long slices; before that, nothing changes. A slice that has begun
    /// is protected to its end, 1 to 3 ms by default and whatever the niceness, except from those with shorter ones.
    pub(super) fn lengthen(niceness: i32) {
        let wish = libc::sched_attr {
            size: SIZE,
            // Whoever runs it may have given it another.
            sched_policy: 0,
            sched_flags: libc::SCHED_FLAG_KEEP_POLICY.unsigned_abs().into(),
            sched_nice: niceness,
            sched_priority: 0,
            sched_runtime: SLICE_NS,
            sched_deadline: 0,
            sched_period: 0,
        };
        set(&wish);
    }

    fn set(wish: &libc::sched_attr) {
        // SAFETY: sched_setattr(2) reads `size` bytes of the struct, which outlives the call, and writes nothing. Refused,
        // it changes nothing.
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const *wish, 0) };
    }

    /// As whoever runs it may have made the calling thread.
    #[cfg(test)]
    pub(super) fn become_idle() {
        set(&libc::sched_attr { sched_policy: libc::SCHED_IDLE.unsigned_abs(), ..current() });
    }

    /// What the kernel holds of the calling thread; a slice of 0 where the scheduler tells of none.
    #[cfg(test)]
    pub(super) fn current() -> libc::sched_attr {
        let mut told = std::mem::MaybeUninit::<libc::sched_attr>::zeroed();
        // SAFETY: sched_getattr(2) writes at most `SIZE` bytes, and all zeros are a sched_attr too.
        unsafe {
            libc::syscall(libc::SYS_sched_getattr, 0, told.as_mut_ptr(), SIZE, 0);
            told.assume_init()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    fn niceness() -> i32 {
        rustix::process::nice(0).unwrap()
    }

    #[test]
    fn who_steps_back_lets_those_who_wake_go_first() {
        let slice = || super::slice::current().sched_runtime;
        let before = slice();
        let inside = thread::spawn(move || {
            super::step_back(1);
            [slice(), thread::spawn(slice).join().unwrap()]
        });
        let inside = inside.join().unwrap();
        // An older kernel tells of none.
        assert_eq!(inside, if before == 0 { [0; 2] } else { [100_000_000; 2] });
        assert_eq!(slice(), before);
    }

    #[test]
    fn who_steps_back_keeps_the_policy_that_was_given() {
        let inside = thread::spawn(|| {
            super::slice::become_idle();
            super::step_back(1);
            super::slice::current().sched_policy
        });
        assert_eq!(inside.join().unwrap(), nix::libc::SCHED_IDLE.unsigned_abs());
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
