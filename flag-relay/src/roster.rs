//! Who is connected: streams by environment and SDK.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    api::{Opening, Seen},
    sdk::Sdk,
};

#[derive(Debug)]
struct Entry {
    environment: Arc<str>,
    session: u64,
    sdk: Option<Arc<str>>,
}

/// All streams that are open.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    next: AtomicU64,
    entries: Mutex<HashMap<u64, Entry>>,
}

impl Roster {
    /// A stream begins; the number takes it out again.
    pub(crate) fn enter(&self, opening: &Opening) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let entry = Entry {
            environment: Arc::clone(&opening.environment),
            session: opening.session,
            sdk: opening.sdk.clone(),
        };
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).insert(number, entry);
        number
    }

    /// A stream is over.
    pub(crate) fn leave(&self, number: u64) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    /// How many streams there are, by environment and SDK. An SDK whose stream does not say what it is has said it
    /// elsewhere in its session, before or after.
    pub(crate) fn count(&self, seen: &Seen) -> BTreeMap<(Arc<str>, Sdk), u64> {
        let mut counts = BTreeMap::new();
        for entry in self.entries.lock().unwrap_or_else(PoisonError::into_inner).values() {
            let told = entry.sdk.clone().or_else(|| seen.sdk(entry.session));
            let sdk = Sdk::parse(told.as_deref().unwrap_or_default());
            *counts.entry((Arc::clone(&entry.environment), sdk)).or_default() += 1;
        }
        counts
    }
}
