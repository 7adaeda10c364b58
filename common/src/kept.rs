//! Pure. Connections that nobody uses at the moment, kept for the next request.

use std::time::{Duration, Instant};

/// How often it is looked which of them lead nowhere any more.
const LOOK: Duration = Duration::from_secs(1);

/// Connections to one place.
#[derive(Debug)]
pub struct Kept<C> {
    most: usize,
    most_age: Duration,
    /// Each with when it came, the latest last.
    free: Vec<(Instant, C)>,
    looked: Option<Instant>,
}

impl<C> Kept<C> {
    /// So many at most, each as long as this at most.
    #[must_use]
    pub fn new(most: usize, most_age: Duration) -> Self {
        Self { most, most_age, free: Vec::new(), looked: None }
    }

    /// The one that was used last, which is the warmest, of those that are good still.
    pub fn take(&mut self, now: Instant, is_good: impl Fn(&C) -> bool) -> Option<C> {
        while let Some((since, connection)) = self.free.pop() {
            if now.saturating_duration_since(since) < self.most_age && is_good(&connection) {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps one if there is room. Now and then those are let go that are not good any more: who is never taken would
    /// stay for ever.
    pub fn put(&mut self, connection: C, now: Instant, is_good: impl Fn(&C) -> bool) {
        if self.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= LOOK) {
            self.looked = Some(now);
            let most_age = self.most_age;
            self.free
                .retain(|(since, kept)| now.saturating_duration_since(*since) < most_age && is_good(kept));
        }
        if self.free.len() < self.most {
            self.free.push((now, connection));
        }
    }

    /// Lets go of all.
    pub fn clear(&mut self) {
        self.free.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_secs(50);

    #[test]
    fn the_warmest_good_one_is_taken_and_the_others_are_let_go() {
        let now = Instant::now();
        let mut kept = Kept::new(3, AGE);
        for connection in 1..=4 {
            kept.put(connection, now, |_| true);
        }
        assert_eq!(kept.take(now, |connection| *connection < 3), Some(2), "there was room for three");
        assert_eq!(kept.take(now + AGE, |_| true), None, "it is too old");
        assert_eq!(kept.take(now, |_| true), None);
    }

    #[test]
    fn what_is_never_taken_is_let_go_once_it_is_not_good() {
        let now = Instant::now();
        let mut kept = Kept::new(9, AGE);
        (1..=4).for_each(|connection| kept.put(connection, now, |_| true));
        kept.put(5, now, |connection| *connection > 2);
        assert_eq!(kept.free.len(), 5, "they are not looked through for every one that comes");
        kept.put(6, now + LOOK, |connection| *connection > 2);
        assert!(kept.free.iter().map(|(_, connection)| *connection).eq(3..=6));
        kept.put(7, now + AGE, |_| true);
        assert!(kept.free.iter().map(|(_, connection)| *connection).eq([6, 7]), "the others are too old");
        kept.clear();
        assert_eq!(kept.take(now, |_| true), None);
    }
}
