//! Pure. When streams are told: not all in the same moment, because each that is told comes back and asks.

use std::time::Duration;

/// The longest that anybody waits; everybody has heard of a change within a second.
const MOST: Duration = Duration::from_millis(500);
/// How far apart those who come back are, on the average.
const APART: Duration = Duration::from_micros(50);

/// How long one of so many streams waits; `jitter` is a random number from 0 to 1.
pub(super) fn wait(streams: usize, jitter: f64) -> Duration {
    let spread = APART.saturating_mul(u32::try_from(streams).unwrap_or(u32::MAX)).min(MOST);
    spread.mul_f64(jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_told_at_once_and_many_within_half_a_second() {
        assert_eq!(wait(1, 1.0), APART);
        assert_eq!(wait(10_000, 0.5), MOST / 2);
        assert_eq!(wait(usize::MAX, 1.0), MOST);
    }
}
