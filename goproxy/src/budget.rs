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
}
