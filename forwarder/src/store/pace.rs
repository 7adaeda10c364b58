//! When sealing lets others go first: it watches its own progress, and rests while it has to wait for the processor.
//!
//! Niceness alone would not do: on a processor that is wanted by all, it still takes a share, and time from the
//! traffic beside it. What waits for being sealed is safe in the log, so it may wait, up to a bound.

use std::time::{Duration, Instant};
use std::{fs, thread};

/// How long a rest is, after which it looks again whether it has to wait.
const REST: Duration = Duration::from_millis(500);
/// How often it looks meanwhile whether it may still rest.
const LOOK: Duration = Duration::from_millis(50);

/// What the scheduler counts of a thread since its start, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Times {
    ran: u64,
    /// Ready to run, and others did.
    waited: u64,
}

impl Times {
    /// Of the calling thread; `None` where the kernel tells nothing.
    fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/thread-self/schedstat").ok()?)
    }

    fn parse(told: &str) -> Option<Self> {
        let mut numbers = told.split_ascii_whitespace().map(|number| number.parse().ok());
        Some(Self { ran: numbers.next()??, waited: numbers.next()?? })
    }

    /// Whether it waited for more than a quarter of the time.
    fn is_crowded_since(self, before: Self) -> bool {
        let ran = self.ran.saturating_sub(before.ran);
        let waited = self.waited.saturating_sub(before.waited);
        waited.saturating_mul(3) > ran
    }
}

/// The pace of one thread.
pub(super) struct Pace<M> {
    may_rest: M,
    before: Option<Times>,
}

impl<M: Fn() -> bool> Pace<M> {
    /// Of the calling thread, from now on. It rests only while it may.
    pub(super) fn new(may_rest: M) -> Self {
        Self { may_rest, before: Times::now() }
    }

    /// Between two pieces of the work: rests if the last one had to wait for the processor. Returns whether it did.
    pub(super) fn step(&mut self) -> bool {
        let now = Times::now();
        let rests = self.is_to_rest(now);
        self.before = if rests {
            self.rest();
            Times::now()
        } else {
            now
        };
        rests
    }

    fn is_to_rest(&self, now: Option<Times>) -> bool {
        self.before.zip(now).is_some_and(|(before, now)| now.is_crowded_since(before)) && (self.may_rest)()
    }

    fn rest(&self) {
        let since = Instant::now();
        while since.elapsed() < REST && (self.may_rest)() {
            thread::sleep(LOOK);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn whoever_waits_for_more_than_a_quarter_of_the_time_is_crowded() {
        let before = Times { ran: 100, waited: 50 };
        let after = |ran: u64, waited: u64| Times { ran: 100 + ran, waited: 50 + waited };
        assert!(after(30, 11).is_crowded_since(before));
        assert!(!after(30, 10).is_crowded_since(before));
        assert!(!before.is_crowded_since(before));
        assert!(after(0, u64::MAX - 50).is_crowded_since(before));
    }

    #[test]
    fn the_scheduler_is_understood() {
        assert_eq!(Times::parse("12 34 5\n"), Some(Times { ran: 12, waited: 34 }));
        assert_eq!(Times::parse("12"), None);
        assert_eq!(Times::parse(""), None);
        assert_eq!(Times::parse("a b"), None);
    }

    #[test]
    fn it_rests_when_crowded_and_no_longer_than_it_may() {
        let looks = Cell::new(0);
        let may_rest = || {
            looks.set(looks.get() + 1);
            looks.get() <= 3
        };
        let pace = Pace { may_rest, before: Some(Times::default()) };
        let times = |ran, waited| Some(Times { ran, waited });
        assert!(!pace.is_to_rest(None));
        assert!(!pace.is_to_rest(times(5, 1)));
        assert_eq!(looks.get(), 0);
        assert!(pace.is_to_rest(times(5, 5)));
        pace.rest();
        assert_eq!(looks.get(), 4, "it looks until it may not");
        assert!(!pace.is_to_rest(times(5, 5)));
    }
}
