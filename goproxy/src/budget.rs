//! Pure. The memory that capture may use, all connections and the queue together.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes that is never exceeded.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    /// So many bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0) }
    }

    /// Takes so many bytes, or none and `false` when they are not there.
    #[must_use]
    pub fn take(&self, bytes: usize) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let granted = before.checked_add(bytes).is_some_and(|after| after <= self.limit);
        if !granted {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        granted
    }

    /// Gives back what was taken.
    pub fn give(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "gave back {bytes} of {before}");
    }

    /// Gives back what was taken for so many bytes for others, or, with `false`, for none when they are not there.
    #[must_use]
    pub fn swap(&self, given: usize, taken: usize) -> bool {
        match taken.checked_sub(given) {
            None | Some(0) => self.give(given - taken),
            Some(more) if self.take(more) => {}
            Some(_) => {
                self.give(given);
                return false;
            }
        }
        true
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes in all.
    pub fn limit(&self) -> usize {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grants_up_to_the_limit_and_not_a_byte_more() {
        let budget = Budget::new(10);
        assert!(budget.take(7));
        assert!(!budget.take(4));
        assert!(budget.take(3));
        budget.give(10);
        assert_eq!(budget.used(), 0);
        assert!(!budget.take(usize::MAX));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_is_swapped_is_what_is_used_or_nothing_is() {
        let budget = Budget::new(10);
        assert!(budget.take(4));
        for (given, taken) in [(4, 4), (4, 9), (9, 1)] {
            assert!(budget.swap(given, taken));
            assert_eq!(budget.used(), taken);
        }
        assert!(budget.take(5));
        assert!(!budget.swap(1, 6));
        assert_eq!(budget.used(), 5);
    }
}
