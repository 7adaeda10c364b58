//! Pure. Whether an upstream is tried: not while it fails, then by one request at a time, until that works.

use std::time::{Duration, Instant};

use common::backoff::Backoff;

/// So many failures in a row open that of an upstream.
const FAILURES: u32 = 3;
const FIRST: Duration = Duration::from_millis(500);
const MOST: Duration = Duration::from_secs(30);
/// A probe that is not heard of for so long was given up by whoever made it.
const PROBE: Duration = Duration::from_secs(30);

/// What an upstream may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// Anything.
    Open,
    /// This one request, to see.
    Probe,
    /// Nothing before this moment.
    Wait(Instant),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Breaker {
    most_failures: u32,
    failures: u32,
    backoff: Backoff,
    /// Not before then, while it is open.
    until: Option<Instant>,
    /// When the one probe was made that is on its way.
    probing: Option<Instant>,
    /// The other side said itself that nothing is to come before `until`.
    is_told: bool,
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new(FAILURES, FIRST, MOST)
    }
}

impl Breaker {
    /// One that opens after so many failures in a row, for a time that grows from `first` to `most`.
    pub(crate) fn new(most_failures: u32, first: Duration, most: Duration) -> Self {
        let backoff = Backoff::new(first, most);
        Self { most_failures, failures: 0, backoff, until: None, probing: None, is_told: false }
    }

    /// What it would let through now.
    pub(crate) fn permit(&self, now: Instant) -> Permit {
        match self.until {
            None => Permit::Open,
            Some(until) if self.probing.is_some_and(|since| now < since + PROBE) => {
                Permit::Wait(until.max(now + FIRST))
            }
            Some(until) if until <= now => Permit::Probe,
            Some(until) => Permit::Wait(until),
        }
    }

    /// The one probe is on its way.
    pub(crate) fn probe(&mut self, now: Instant) {
        self.probing = Some(now);
    }

    /// It answered. Returns whether it had been given up.
    pub(crate) fn worked(&mut self) -> bool {
        let was_open = self.until.take().is_some();
        self.failures = 0;
        self.probing = None;
        self.is_told = false;
        self.backoff.reset();
        was_open
    }

    /// It answers a check. Returns whether it had been given up; what it said itself goes before.
    pub(crate) fn checked(&mut self, now: Instant) -> bool {
        let is_told = self.is_told && self.until.is_some_and(|until| now < until);
        !is_told && self.until.is_some() && self.worked()
    }

    /// The probe says nothing about what is asked here.
    pub(crate) fn untold(&mut self) {
        self.probing = None;
    }

    /// It did not; returns whether it is given up with this. `told` is when it said it may be tried again.
    pub(crate) fn failed(&mut self, now: Instant, told: Option<Duration>, jitter: f64) -> bool {
        self.failures = self.failures.saturating_add(1);
        let was_open = self.until.is_some();
        if was_open && self.probing.is_none() {
            // One that was on its way before.
            return false;
        }
        self.probing = None;
        self.is_told = told.is_some();
        if self.failures >= self.most_failures || was_open || told.is_some() {
            self.until = Some(now + told.unwrap_or_default().max(self.backoff.wait(jitter)));
        }
        self.until.is_some() && !was_open
    }

    /// Whether it is given up for now.
    pub(crate) fn is_open(&self) -> bool {
        self.until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_three_failures_one_probe_at_a_time_is_let_through() {
        let mut breaker = Breaker::default();
        let start = Instant::now();
        assert!(!breaker.failed(start, None, 1.0) && !breaker.failed(start, None, 1.0));
        assert_eq!(breaker.permit(start), Permit::Open);
        assert!(breaker.failed(start, None, 1.0));
        assert_eq!(breaker.permit(start), Permit::Wait(start + FIRST));
        assert_eq!(breaker.permit(start + FIRST), Permit::Probe);
        breaker.probe(start + FIRST);
        assert!(matches!(breaker.permit(start + FIRST), Permit::Wait(_)));
        assert_eq!(breaker.permit(start + FIRST + PROBE), Permit::Probe, "whoever made it has left");
        assert!(!breaker.failed(start + FIRST, None, 1.0));
        assert_eq!(breaker.permit(start + FIRST), Permit::Wait(start + FIRST * 3));
        assert!(breaker.worked() && !breaker.worked());
        assert_eq!(breaker.permit(start), Permit::Open);
    }

    #[test]
    fn a_success_starts_the_count_over_and_retry_after_is_believed() {
        let mut breaker = Breaker::default();
        let start = Instant::now();
        for _ in 0..10 {
            assert!(!breaker.failed(start, None, 1.0));
            assert!(!breaker.worked());
        }
        assert!(breaker.failed(start, Some(Duration::from_secs(7)), 1.0));
        assert_eq!(breaker.permit(start), Permit::Wait(start + Duration::from_secs(7)));
    }
}
