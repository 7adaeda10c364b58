//! Pure. Which segments are too old or too many.

use std::sync::Arc;
use std::time::Duration;

use super::checkpoint::Segment;

/// The segments to remove, oldest first: those whose youngest row is older than `max_age`, and as many more as it
/// takes to have at most `max_bytes`. Zero is no limit.
pub fn expired(
    segments: &[Arc<Segment>],
    now_ns: i64,
    max_bytes: u64,
    max_age: Duration,
) -> Vec<Arc<Segment>> {
    let mut oldest_first = segments.to_vec();
    oldest_first.sort_by(|a, b| (a.max_ns, &a.path).cmp(&(b.max_ns, &b.path)));
    let age_ns = i64::try_from(max_age.as_nanos()).unwrap_or(i64::MAX);
    let horizon = if max_age.is_zero() { i64::MIN } else { now_ns.saturating_sub(age_ns) };
    let mut bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    oldest_first.retain(|segment| {
        let remove = segment.max_ns < horizon || (max_bytes > 0 && bytes > max_bytes);
        bytes -= if remove { segment.bytes } else { 0 };
        remove
    });
    oldest_first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(max_bytes: u64, max_age_ns: u64, expected: &[&str]) {
        let segment = |path: &str, max_ns: i64| {
            Arc::new(Segment { path: path.into(), bytes: 10, rows: 1, min_ns: max_ns - 5, max_ns })
        };
        let segments = [segment("c", 30), segment("a", 10), segment("b", 20)];
        let removed = expired(&segments, 40, max_bytes, Duration::from_nanos(max_age_ns));
        assert_eq!(removed.iter().map(|segment| segment.path.as_str()).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_oldest_go_first() {
        check(0, 0, &[]);
        check(30, 0, &[]);
        check(29, 0, &["a"]);
        check(10, 0, &["a", "b"]);
        check(9, 0, &["a", "b", "c"]);
        check(0, 20, &["a"]);
        check(0, 10, &["a", "b"]);
        check(20, 10, &["a", "b"]);
    }
}
