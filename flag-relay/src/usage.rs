//! Which flags are asked for, by whom: what SDKs post as metrics, added up.

mod ledger;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::ledger::{Count, Ledger, Posted, Use};

/// The counts of all environments.
#[derive(Debug, Default)]
pub struct Usage {
    all: Mutex<Ledger>,
    /// What was not passed on yet; `None` when nothing is.
    unsent: Option<Mutex<Ledger>>,
}

impl Usage {
    /// Counts of which what is new can be taken, to be passed on.
    pub fn passed_on() -> Self {
        Self { all: Mutex::default(), unsent: Some(Mutex::default()) }
    }

    /// What was added since the last time.
    pub fn take_unsent(&self) -> Vec<(Use, Count)> {
        let taken = self.unsent.as_ref().map(|unsent| std::mem::take(&mut *lock(unsent)));
        taken.map(|taken| taken.all()).unwrap_or_default()
    }

    /// This could not be passed on, and is to be taken later.
    pub fn put_back(&self, unsent: Vec<(Use, Count)>) {
        if let Some(ledger) = &self.unsent {
            let mut ledger = lock(ledger);
            unsent.into_iter().for_each(|(used, count)| ledger.put_back(used, &count));
        }
    }

    /// Adds what an SDK posted; `now_ms` are milliseconds since 1970. Returns the kind of that SDK.
    pub fn add(&self, environment: &Arc<str>, posted: &Posted, now_ms: u64) {
        lock(&self.all).add(environment, posted, now_ms);
        if let Some(unsent) = &self.unsent {
            lock(unsent).add(environment, posted, now_ms);
        }
    }

    /// Every use with its count.
    pub fn all(&self) -> Vec<(Use, Count)> {
        lock(&self.all).all()
    }

    /// How many evaluations were posted of which no room was left to say more.
    pub fn uncounted(&self) -> u64 {
        lock(&self.all).uncounted()
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
