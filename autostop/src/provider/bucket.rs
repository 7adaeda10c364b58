//! A budget of calls: so many per minute, so many at once.

use std::time::Duration;

use tokio::time::Instant;

/// A token bucket. Who has to wait gets a place in the line.
#[derive(Debug)]
pub(super) struct Bucket {
    /// The time that one call costs.
    cost: Duration,
    /// How far calls may run ahead.
    ahead: Duration,
    /// When every call so far is paid for. In the past, when there is credit.
    paid_at: Option<Instant>,
}

impl Bucket {
    /// Full. No calls per minute means no limit.
    pub(super) fn new(calls_per_minute: u32, burst: u32) -> Self {
        let cost = Duration::from_secs(60).checked_div(calls_per_minute).unwrap_or_default();
        Self { cost, ahead: cost * burst.saturating_sub(1), paid_at: None }
    }

    /// When the next call may go; `None`, and nothing is taken, when that is not before the deadline.
    pub(super) fn take(&mut self, now: Instant, deadline: Instant) -> Option<Instant> {
        let paid_at = self.paid_at.unwrap_or(now).max(now);
        let at = paid_at.checked_sub(self.ahead).unwrap_or(now).max(now);
        if at >= deadline {
            return None;
        }
        self.paid_at = Some(paid_at + self.cost);
        Some(at)
    }

    /// Nobody goes before this time, and then one by one.
    pub(super) fn pause(&mut self, until: Instant) {
        self.paid_at = self.paid_at.max(Some(until + self.ahead));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn waits(bucket: &mut Bucket, now: Instant, calls: usize) -> Vec<u64> {
        let far = now + SECOND * 1000;
        (0..calls).map(|_| bucket.take(now, far).unwrap().duration_since(now).as_secs()).collect()
    }

    #[test]
    fn a_burst_goes_at_once_and_the_rest_in_line() {
        let mut bucket = Bucket::new(60, 3);
        let now = Instant::now();
        assert_eq!(waits(&mut bucket, now, 6), [0, 0, 0, 1, 2, 3]);
        assert_eq!(waits(&mut bucket, now + SECOND * 4, 3), [0, 1, 2]);
        assert_eq!(waits(&mut bucket, now + SECOND * 600, 5), [0, 0, 0, 1, 2]);
    }

    #[test]
    fn who_would_wait_too_long_takes_nothing() {
        let mut bucket = Bucket::new(60, 1);
        let now = Instant::now();
        assert_eq!(waits(&mut bucket, now, 2), [0, 1]);
        for _ in 0..100 {
            assert_eq!(bucket.take(now, now + SECOND * 2), None);
        }
        assert_eq!(waits(&mut bucket, now, 1), [2]);
    }

    #[test]
    fn without_a_limit_only_a_pause_holds_a_call_up() {
        let mut bucket = Bucket::new(0, 0);
        let now = Instant::now();
        assert_eq!(waits(&mut bucket, now, 1000), [0; 1000]);
        bucket.pause(now + SECOND * 5);
        bucket.pause(now + SECOND * 4);
        assert_eq!(waits(&mut bucket, now, 2), [5, 5]);
    }

    #[test]
    fn after_a_pause_there_is_no_burst() {
        let mut bucket = Bucket::new(60, 10);
        let now = Instant::now();
        bucket.pause(now + SECOND * 5);
        assert_eq!(waits(&mut bucket, now, 3), [5, 6, 7]);
        assert_eq!(waits(&mut bucket, now + SECOND * 60, 11), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }
}
