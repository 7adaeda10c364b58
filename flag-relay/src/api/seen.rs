//! What SDKs told of themselves and of their targets lately.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{environment::Environment, recent::Recent, shape::Target};

/// Targets that are remembered.
const MOST_TARGETS: usize = 20_000;
/// A target with more attributes is told with every request, or evaluated by its identifier.
const MOST_TARGET_BYTES: usize = 2 << 10;
/// Sessions whose SDK is remembered.
const MOST_SESSIONS: usize = 100_000;
/// The longest name of an SDK that is remembered.
const MOST_SDK_BYTES: usize = 64;

/// A target by its environment and its identifier.
type Name = (Arc<str>, Box<str>);

/// See the module.
pub(crate) struct Seen {
    targets: Mutex<Recent<Name, Target>>,
    sessions: Mutex<Recent<u64, Arc<str>>>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            targets: Mutex::new(Recent::new(MOST_TARGETS)),
            sessions: Mutex::new(Recent::new(MOST_SESSIONS)),
        }
    }
}

impl Seen {
    /// Remembers a target.
    pub(crate) fn put_target(&self, environment: &Environment, target: Target) {
        let bytes: usize =
            target.attributes.iter().map(|(key, value)| key.len() + value.to_string().len()).sum();
        if bytes + target.identifier.len() + target.name.len() <= MOST_TARGET_BYTES {
            let key = (Arc::clone(&environment.id), target.identifier.as_str().into());
            lock(&self.targets).put(key, target);
        }
    }

    /// The target of this identifier, as it was told last.
    pub(crate) fn target(&self, environment: &Environment, identifier: &str) -> Option<Target> {
        lock(&self.targets).find(&(Arc::clone(&environment.id), identifier.into())).cloned()
    }

    /// A number for a new session; never 0.
    pub(crate) fn session(&self) -> u64 {
        fastrand::u64(1..)
    }

    /// Remembers the SDK of a session, as it calls itself.
    pub(crate) fn put_sdk(&self, session: u64, told: &str) {
        if session == 0 || told.len() > MOST_SDK_BYTES {
            return;
        }
        let mut sessions = lock(&self.sessions);
        if sessions.find(&session).is_none_or(|known| **known != *told) {
            sessions.put(session, told.into());
        }
    }

    /// Remembers the SDK of a session of which nothing is known yet.
    pub(crate) fn put_first_sdk(&self, session: u64, told: &str) {
        if session != 0 && self.sdk(session).is_none() {
            self.put_sdk(session, told);
        }
    }

    /// The SDK of a session.
    pub(crate) fn sdk(&self, session: u64) -> Option<Arc<str>> {
        lock(&self.sessions).find(&session).cloned()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
