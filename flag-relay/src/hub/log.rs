//! Pure. What was told to an environment: the last change of each flag and group, in order.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use crate::environment::{Change, Domain};

/// A change with its place in the order.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    /// Its number; the first is 1.
    pub number: u64,
    /// When it was told, since 1970.
    pub at: Duration,
    /// The change.
    pub change: Change,
}

/// It never grows beyond one entry for each flag and group that there ever was, so that a stream that is slow, or
/// never reads, costs nothing and loses nothing.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: BTreeMap<u64, Arc<Told>>,
    latest: HashMap<(Domain, Box<str>), u64>,
    last: u64,
}

impl Log {
    pub(super) fn add(&mut self, changes: &[Change], at: Duration) {
        for change in changes {
            self.last += 1;
            let key = (change.domain, change.identifier.clone());
            if let Some(old) = self.latest.insert(key, self.last) {
                self.entries.remove(&old);
            }
            let told = Told { number: self.last, at, change: change.clone() };
            self.entries.insert(self.last, Arc::new(told));
        }
    }

    /// The first entry after this number.
    pub(super) fn after(&self, number: u64) -> Option<Arc<Told>> {
        self.entries.range(number + 1..).next().map(|(_, told)| Arc::clone(told))
    }

    /// The number after which everything was told since then.
    pub(super) fn before(&self, since: Duration) -> u64 {
        let entries = self.entries.values().rev().take_while(|told| told.at >= since);
        entries.last().map_or(self.last, |told| told.number - 1)
    }
}
