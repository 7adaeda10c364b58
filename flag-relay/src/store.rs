//! What is served, all of it, swapped as a whole; whoever changes it tells the streams afterwards.
//!
//! Cache first, then tell: a change is announced after it can be read, once, and only if it is one.

mod world;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::{Notify, watch};

pub use self::world::{Applied, Refused, Update, World};
use crate::{environment::Environment, hub::Hub, secret::KeyHash};

/// Everything that is served. Reading it takes no lock.
#[derive(Default)]
pub struct Store {
    world: ArcSwap<World>,
    /// Held while the world is replaced, so that changes are told in the order in which they came.
    writing: Mutex<()>,
    /// The streams of all environments.
    pub hub: Hub,
    unkept: Mutex<BTreeSet<Arc<str>>>,
    changed: Notify,
    told: watch::Sender<()>,
}

impl Store {
    /// Takes what a source tells: first all of it becomes readable at once, then the streams are told. What is refused
    /// leaves its environment as it was.
    pub fn apply(&self, updates: Vec<Update>) -> Applied {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (next, applied) = self.world.load().next(updates, now.as_secs());
        self.world.store(Arc::new(next));
        if !applied.touched.is_empty() {
            self.unkept
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(applied.touched.iter().cloned());
            self.changed.notify_one();
            self.told.send_replace(());
        }
        for (environment, changes) in &applied.changes {
            self.hub.announce(environment, changes, now);
        }
        // Streams whose key is gone look and end; the others look and go on.
        self.hub.look_at_keys(&applied.keys_changed);
        applied
    }

    /// Tells of every change from now on.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.told.subscribe()
    }

    /// As it is now.
    pub fn world(&self) -> Guard<Arc<World>> {
        self.world.load()
    }

    /// The environment of this id.
    pub fn environment(&self, id: &str) -> Option<Arc<Environment>> {
        self.world.load().environments.get(id).cloned()
    }

    /// The environment that this key opens.
    pub fn opened_by(&self, key: &KeyHash) -> Option<Arc<Environment>> {
        self.world.load().opened_by(key)
    }

    /// These could not be kept, and are to be kept later.
    pub fn keep_again(&self, unkept: BTreeSet<Arc<str>>) {
        self.unkept.lock().unwrap_or_else(PoisonError::into_inner).extend(unkept);
        self.changed.notify_one();
    }

    /// Waits until something is to be kept, and returns which environments: those that are gone as well.
    pub async fn to_keep(&self) -> BTreeSet<Arc<str>> {
        loop {
            let unkept = std::mem::take(&mut *self.unkept.lock().unwrap_or_else(PoisonError::into_inner));
            if !unkept.is_empty() {
                return unkept;
            }
            self.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;
    use crate::example::{environment, serving};

    #[test]
    fn whoever_hears_of_a_change_can_read_it() {
        let store = Arc::new(Store::default());
        let tell = |variation: &str| {
            store.apply(vec![Update::Environment(environment("e", vec![serving("f", variation)]))]);
        };
        tell("true");
        let version =
            |store: &Store| store.environment("e").map_or(0, |served| served.as_told().flags[0].version);
        let last = version(&store) + 2000;
        let (own, mut listener) = (Arc::clone(&store), store.hub.listen(&Arc::from("e"), Duration::MAX));
        let hearing = thread::spawn(move || {
            let mut heard = 0;
            while heard < last {
                if let Some(told) = listener.hear() {
                    assert!(version(&own) >= told.change.version, "it was told before it could be read");
                    heard = told.change.version;
                }
            }
        });
        let mut round = 0;
        while version(&store) < last {
            round += 1;
            tell(if round % 2 == 0 { "true" } else { "false" });
        }
        hearing.join().unwrap();
    }
}
