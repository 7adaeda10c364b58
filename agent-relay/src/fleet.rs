//! What is seen of each agent: when it last spoke, as what, and what it was refused.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

/// What is seen of one agent since the start.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Seen {
    pub(crate) version: String,
    pub(crate) last_seen_ms: u64,
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    /// Answered with 503, to be sent again.
    pub(crate) refused: u64,
    /// Given up, as dead letters.
    pub(crate) rejected: u64,
    /// The name that the relay before this one has for it.
    pub(crate) behind: Option<String>,
    /// When the first request came that waits, of this lane, in milliseconds since 1970.
    pub(crate) first_ms: Option<u64>,
    /// How long the last request waited that was delivered.
    pub(crate) lag_ms: Option<u64>,
    /// What the other side said last, if it did not take it.
    pub(crate) last_error: Option<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Fleet(Mutex<HashMap<String, Seen>>);

/// More agents than this are not shown.
const MOST_AGENTS: usize = 100_000;

impl Fleet {
    /// Notes something of an agent.
    pub(crate) fn note(&self, agent: &str, note: impl FnOnce(&mut Seen)) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = seen.get_mut(agent) {
            note(known);
        } else if seen.len() < MOST_AGENTS {
            note(seen.entry(agent.to_owned()).or_default());
        }
    }

    /// What is seen of an agent.
    pub(crate) fn seen(&self, agent: &str) -> Option<Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(agent).cloned()
    }
}
