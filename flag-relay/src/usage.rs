//! Which flags are asked for, by whom: what SDKs post as metrics, added up.

mod ledger;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::ledger::{Count, Ledger, Posted, Use};

/// The counts of all environments.
#[derive(Debug, Default)]
pub struct Usage(Mutex<Ledger>);

impl Usage {
    /// Adds what an SDK posted; `now_ms` are milliseconds since 1970. Returns the kind of that SDK.
    pub fn add(&self, environment: &Arc<str>, posted: &Posted, now_ms: u64) {
        self.lock().add(environment, posted, now_ms);
    }

    /// Every use with its count.
    pub fn all(&self) -> Vec<(Use, Count)> {
        self.lock().all()
    }

    /// How many evaluations were posted of which no room was left to say more.
    pub fn uncounted(&self) -> u64 {
        self.lock().uncounted()
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
