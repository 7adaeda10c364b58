//! Pure. What an answer of the other side means for a queued request.

use std::time::Duration;

/// What becomes of a queued request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is delivered.
    Delivered,
    /// It will never be taken: put aside.
    Dead,
    /// The other side is in trouble: it is tried again, there or elsewhere.
    Trouble,
    /// This one request is held back, the other side is well: wrong key or unknown path.
    Held,
}

/// What this status means. Only what the first generation of agents gave up is given up here.
pub(crate) fn verdict(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Delivered,
        400 | 413 => Verdict::Dead,
        401 | 403 | 404 | 405 | 407 => Verdict::Held,
        // A redirect of a POST is a mistake of the configuration, which somebody may mend.
        300..=399 => Verdict::Held,
        408 | 429 | 500..=599 => Verdict::Trouble,
        402 | 406 | 409..=499 => Verdict::Held,
        _ => Verdict::Trouble,
    }
}

/// What `Retry-After` says, in seconds (RFC 9110, section 10.2.3); a date is not believed, nor more than an hour.
pub(crate) fn retry_after(value: Option<&str>) -> Option<Duration> {
    let seconds: u64 = value?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(3600)))
}

/// How long a request that is held waits before it is tried for the n-th time again.
pub(crate) fn held(tries: u32, jitter: f64) -> Duration {
    let whole = Duration::from_secs(2) * 2_u32.pow(tries.min(8));
    whole.min(Duration::from_secs(300)).mul_f64(0.5 + jitter / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_400_and_413_are_given_up() {
        let dead: Vec<u16> = (100..=999).filter(|status| verdict(*status) == Verdict::Dead).collect();
        assert_eq!(dead, [400, 413]);
        let delivered: Vec<u16> =
            (100..=999).filter(|status| verdict(*status) == Verdict::Delivered).collect();
        assert_eq!(delivered, (200..300).collect::<Vec<_>>());
        for (status, expected) in [
            (403, Verdict::Held),
            (404, Verdict::Held),
            (301, Verdict::Held),
            (429, Verdict::Trouble),
            (408, Verdict::Trouble),
            (503, Verdict::Trouble),
        ] {
            assert_eq!(verdict(status), expected, "{status}");
        }
    }

    #[test]
    fn retry_after_is_a_number_of_seconds_within_reason() {
        assert_eq!(retry_after(Some(" 7 ")), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(Some("999999")), Some(Duration::from_secs(3600)));
        assert_eq!(retry_after(Some("Fri, 31 Dec 1999 23:59:59 GMT")), None);
        assert_eq!(retry_after(None), None);
    }

    #[test]
    fn what_is_held_waits_longer_each_time_up_to_five_minutes() {
        assert_eq!(held(0, 1.0), Duration::from_secs(2));
        assert_eq!(held(3, 1.0), Duration::from_secs(16));
        assert_eq!(held(60, 1.0), Duration::from_secs(300));
    }
}
