//! How a source stands: what `/health` and the status page say of it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// How often it was read so.
    pub reads: u64,
    /// Whether what is served is all that the source has: also when it has nothing any more.
    pub is_whole: bool,
    /// Whether what is shared with other relays can be reached.
    pub is_cache_well: bool,
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
            reads: 0,
            is_whole: false,
            is_cache_well: true,
        }))
    }

    /// The source was read; with problems, what is served stays older than what it has.
    pub fn read(&self, problems: BTreeMap<String, Vec<String>>, now_ms: u64) {
        let mut state = self.lock();
        let now = if problems.is_empty() { ConfigState::Synced } else { ConfigState::FailedToSync };
        state.is_whole = problems.is_empty();
        if state.is_whole {
            state.read_ms = now_ms;
            state.reads += 1;
        }
        if state.config.state != now {
            state.config = Since { state: now, since: now_ms };
        }
        state.problems = problems;
    }

    /// The source was read, and some of it was refused: that stays as it was, and the rest is what the source has.
    pub fn read_in_part(&self, problems: BTreeMap<String, Vec<String>>, now_ms: u64) {
        self.emptied(problems, now_ms);
    }

    /// The source has nothing any more, for this reason: that is all that it has.
    pub fn emptied(&self, problems: BTreeMap<String, Vec<String>>, now_ms: u64) {
        self.read(problems, now_ms);
        let mut state = self.lock();
        (state.is_whole, state.reads) = (true, state.reads + 1);
    }

    /// Somebody else wrote what is served, and it was read.
    pub fn replicate(&self, problems: BTreeMap<String, Vec<String>>, now_ms: u64) {
        let mut state = self.lock();
        if state.config.state != ConfigState::ReadReplica {
            state.config = Since { state: ConfigState::ReadReplica, since: now_ms };
        }
        if problems.is_empty() {
            state.read_ms = now_ms;
            state.reads += 1;
        }
        state.problems = problems;
    }

    /// Whether what is shared with other relays can be reached.
    pub fn cache(&self, is_well: bool) {
        self.lock().is_cache_well = is_well;
    }

    /// Whether changes are heard of as they happen.
    pub fn stream(&self, now: StreamState, now_ms: u64) {
        let mut state = self.lock();
        if state.stream.state != now {
            state.stream = Since { state: now, since: now_ms };
        }
    }

    /// Whether somebody else writes what is served.
    pub fn is_replica(&self) -> bool {
        self.lock().config.state == ConfigState::ReadReplica
    }

    /// How it stands now.
    pub fn now(&self) -> State {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
