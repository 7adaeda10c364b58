//! Pure. What became of every call, for the metrics.

use std::collections::BTreeMap;

use crate::provider::Error;

/// How many calls of one kind ended in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// start, stop, status, describe or secret.
    pub op: &'static str,
    /// ok, or the name of the fault.
    pub outcome: &'static str,
    /// Calls since the start, tries again included.
    pub calls: u64,
}

/// All counts of one provider.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<(&'static str, &'static str), u64>);

impl Tally {
    /// One more call.
    pub(super) fn count<T>(&mut self, op: &'static str, done: &Result<T, Error>) {
        let outcome = done.as_ref().map_or_else(|error| error.fault.name(), |_| "ok");
        *self.0.entry((op, outcome)).or_default() += 1;
    }

    /// In the order of their names.
    pub(super) fn counts(&self) -> Vec<Count> {
        self.0.iter().map(|((op, outcome), calls)| Count { op, outcome, calls: *calls }).collect()
    }
}
