//! Pure. How long an outage of the other side may last: what is left of the queue, by the rate at which data came lately.

use std::{collections::VecDeque, time::Duration};

/// Over so long a time the rate is taken.
const WINDOW: Duration = Duration::from_secs(15 * 60);

/// How much had come at some moments, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Window(VecDeque<(Duration, u64)>);

impl Window {
    /// So many bytes had come in all, at this time since some beginning.
    pub(crate) fn note(&mut self, now: Duration, bytes: u64) {
        self.0.push_back((now, bytes));
        // One that is older stays, so that the whole window is known.
        while self.0.get(1).is_some_and(|(then, _)| now.saturating_sub(*then) >= WINDOW) {
            self.0.pop_front();
        }
    }

    /// Bytes per second; `None` until it is known.
    pub(crate) fn rate(&self) -> Option<f64> {
        let ((first, before), (last, after)) = (self.0.front()?, self.0.back()?);
        let seconds = last.saturating_sub(*first).as_secs_f64();
        (seconds > 0.0).then(|| after.saturating_sub(*before) as f64 / seconds)
    }

    /// How long so much room lasts; `None` for ever, or not known.
    pub(crate) fn budget(&self, room_bytes: u64) -> Option<Duration> {
        let rate = self.rate().filter(|rate| *rate > 0.0)?;
        // A hundred years are for ever, and fit.
        Some(Duration::from_secs_f64((room_bytes as f64 / rate).min(3e9)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_what_is_left_by_the_rate_of_the_last_quarter_of_an_hour() {
        let mut window = Window::default();
        assert_eq!(window.budget(1000), None);
        window.note(Duration::ZERO, 0);
        assert_eq!(window.budget(1000), None, "one moment is no rate");
        window.note(Duration::from_secs(10), 100);
        assert_eq!(window.budget(1000), Some(Duration::from_secs(100)));
        for second in (20..=2000).step_by(10) {
            window.note(Duration::from_secs(second), 100);
        }
        assert_eq!(
            (window.rate(), window.budget(1000)),
            (Some(0.0), None),
            "what is long ago does not count"
        );
        window.note(Duration::from_secs(2010), 1000);
        assert_eq!(window.rate(), Some(1.0));
        let mut silent = Window::default();
        silent.note(Duration::ZERO, 5);
        silent.note(Duration::from_secs(10), 5);
        assert_eq!(silent.budget(1000), None, "for ever");
    }
}
