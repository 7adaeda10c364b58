//! Pure. What an answer of the other side means for a queued request.

use std::time::{Duration, SystemTime};

/// What becomes of a queued request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is delivered.
    Delivered,
    /// It will never be taken: put aside.
    Dead,
    /// The other side is in trouble: it is tried again, there or elsewhere.
    Trouble,
    /// It does not take this key.
    Key,
    /// It does not take this path, as it is.
    Path,
}

/// What this status means. Only what the first generation of agents gave up is given up here.
pub(crate) fn verdict(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Delivered,
        400 | 413 => Verdict::Dead,
        401 | 403 => Verdict::Key,
        // 407 is of the web proxy in between.
        407 | 408 | 429 | 500..=599 => Verdict::Trouble,
        // A redirect of a POST is a mistake of the configuration, which somebody may mend.
        300..=399 | 402..=499 => Verdict::Path,
        _ => Verdict::Trouble,
    }
}

/// What `Retry-After` says, in seconds or as a date (RFC 9110, section 10.2.3); no more than an hour is believed.
pub(crate) fn retry_after(value: Option<&str>, now: SystemTime) -> Option<Duration> {
    let value = value?.trim();
    let told = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(told.min(Duration::from_secs(3600)))
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
            (401, Verdict::Key),
            (403, Verdict::Key),
            (404, Verdict::Path),
            (301, Verdict::Path),
            (407, Verdict::Trouble),
            (429, Verdict::Trouble),
            (408, Verdict::Trouble),
            (503, Verdict::Trouble),
        ] {
            assert_eq!(verdict(status), expected, "{status}");
        }
    }

    #[test]
    fn retry_after_is_believed_within_reason() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let check = |value: &str, expected: Option<u64>| {
            assert_eq!(retry_after(Some(value), now), expected.map(Duration::from_secs), "{value}");
        };
        check(" 7 ", Some(7));
        check("999999", Some(3600));
        check("Sun, 06 Nov 1994 08:50:00 GMT", Some(23));
        check("Sun, 06 Nov 1994 08:00:00 GMT", Some(0));
        check("Fri, 31 Dec 1999 23:59:59 GMT", Some(3600));
        check("soon", None);
        assert_eq!(retry_after(None, now), None);
    }
}
