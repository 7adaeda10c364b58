//! How a source stands: what `/health` and the status page say of it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

/// Whether what is served is what the source has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConfigState {
    /// It is.
    Synced,
    /// The source could not be read, or something in it was refused; what is served may be older.
    FailedToSync,
    /// Somebody else writes what this relay serves.
    ReadReplica,
}

/// Whether changes are heard of as they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StreamState {
    /// They are.
    Connected,
    /// They are not: the source is asked from time to time.
    Disconnected,
    /// Nobody tried yet.
    Initializing,
}

/// A state with the time since when, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Since<T> {
    /// The state.
    pub state: T,
    /// Since when.
    pub since: u64,
}

/// How the source stands at one moment.
#[derive(Clone, Debug)]
pub struct State {
    /// Whether what is served is what the source has.
    pub config: Since<ConfigState>,
    /// Whether changes are heard of as they happen.
    pub stream: Since<StreamState>,
    /// What is wrong, by environment or file.
    pub problems: BTreeMap<String, Vec<String>>,
    /// When the source was last read without a fault, in milliseconds since 1970; 0 for never.
    pub read_ms: u64,
}

/// How a source stands; told by the source, asked by everybody.
#[derive(Debug)]
pub struct Standing(Mutex<State>);

impl Standing {
    /// Nothing is known yet.
    pub fn new(now_ms: u64) -> Self {
        Self(Mutex::new(State {
            config: Since { state: ConfigState::FailedToSync, since: now_ms },
            stream: Since { state: StreamState::Initializing, since: now_ms },
            problems: BTreeMap::new(),
            read_ms: 0,
        }))
    }

    /// The source was read; with problems, what is served stays older than what it has.
    pub fn read(&self, problems: BTreeMap<String, Vec<String>>, now_ms: u64) {
        let mut state = self.lock();
        let now = if problems.is_empty() { ConfigState::Synced } else { ConfigState::FailedToSync };
        if problems.is_empty() {
            state.read_ms = now_ms;
        }
        if state.config.state != now {
            state.config = Since { state: now, since: now_ms };
        }
        state.problems = problems;
    }

    /// Whether changes are heard of as they happen.
    pub fn stream(&self, now: StreamState, now_ms: u64) {
        let mut state = self.lock();
        if state.stream.state != now {
            state.stream = Since { state: now, since: now_ms };
        }
    }

    /// How it stands now.
    pub fn now(&self) -> State {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
