//! Pure. One useful log line rather than a flood.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Lets one line through per period and counts those it held back.
#[derive(Debug)]
pub struct Quiet {
    period: Duration,
    state: Mutex<(Option<Instant>, u64)>,
}

impl Quiet {
    /// At most one line per period.
    pub const fn new(period: Duration) -> Self {
        Self { period, state: Mutex::new((None, 0)) }
    }

    /// Whether to speak now, and how many lines were held back since the last one.
    pub fn speak(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.0 {
            Some(last) if now.duration_since(last) < self.period => {
                state.1 += 1;
                None
            }
            _ => {
                state.0 = Some(now);
                Some(std::mem::take(&mut state.1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_speaks_and_the_next_tells_how_many_were_held_back() {
        let quiet = Quiet::new(Duration::from_secs(10));
        let start = Instant::now();
        assert_eq!(quiet.speak(start), Some(0));
        assert_eq!(quiet.speak(start + Duration::from_secs(1)), None);
        assert_eq!(quiet.speak(start + Duration::from_secs(9)), None);
        assert_eq!(quiet.speak(start + Duration::from_secs(10)), Some(2));
    }
}
