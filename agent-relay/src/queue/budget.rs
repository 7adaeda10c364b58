//! Memory for bodies on their way out of the queue.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// So many bytes may be held at a time; one record alone always may.
#[derive(Debug)]
pub(super) struct Budget {
    most: u64,
    held: AtomicU64,
}

/// A part of the budget, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub(super) fn new(most: u64) -> Arc<Self> {
        Arc::new(Self { most, held: AtomicU64::new(0) })
    }

    /// So much of it, if there is so much left.
    pub(super) fn take(self: &Arc<Self>, bytes: u64) -> Option<Share> {
        let fits = |held: u64| Some(held + bytes).filter(|sum| held == 0 || *sum <= self.most);
        self.held.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).ok()?;
        Some(Share { budget: Arc::clone(self), bytes })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_budget_is_held_but_one_alone_always_may() {
        let budget = Budget::new(10);
        let first = budget.take(6).unwrap();
        assert!(budget.take(5).is_none());
        let second = budget.take(4).unwrap();
        drop((first, second));
        let large = budget.take(1000).unwrap();
        assert!(budget.take(1).is_none());
        drop(large);
        assert!(budget.take(1).is_some());
    }
}
