//! The streams of all environments: what was told lately, and how they wake up to tell it.

mod log;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use self::log::Log;
pub use self::log::Told;
use crate::environment::Change;

/// The channels of all environments.
#[derive(Default)]
pub struct Hub {
    channels: Mutex<HashMap<Arc<str>, Arc<Channel>>>,
}

/// What the streams of one environment listen to.
#[derive(Debug)]
pub struct Channel {
    log: Mutex<Log>,
    wake: watch::Sender<()>,
}

/// A stream's place in what is told.
#[derive(Debug)]
pub struct Listener {
    channel: Arc<Channel>,
    woken: watch::Receiver<()>,
    /// Everything up to this was told.
    heard: u64,
}

impl Hub {
    fn channel(&self, environment: &Arc<str>) -> Arc<Channel> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || Arc::new(Channel { log: Mutex::default(), wake: watch::Sender::new(()) });
        Arc::clone(channels.entry(Arc::clone(environment)).or_insert_with(made))
    }

    /// Tells the streams of this environment; `now` is the time since 1970.
    pub(crate) fn announce(&self, environment: &Arc<str>, changes: &[Change], now: Duration) {
        let channel = self.channel(environment);
        channel.log.lock().unwrap_or_else(PoisonError::into_inner).add(changes, now);
        channel.wake.send_replace(());
    }

    /// Wakes the streams of these environments, so that they look whether their keys are still good.
    pub(crate) fn look_at_keys(&self, environments: &BTreeSet<Arc<str>>) {
        for environment in environments {
            self.channel(environment).wake.send_replace(());
        }
    }

    /// Listens to what is told to this environment, and to what was told since then (time since 1970).
    pub fn listen(&self, environment: &Arc<str>, since: Duration) -> Listener {
        let channel = self.channel(environment);
        let woken = channel.wake.subscribe();
        let heard = channel.log.lock().unwrap_or_else(PoisonError::into_inner).before(since);
        let mut listener = Listener { channel, woken, heard };
        // What is there already is told at once.
        listener.woken.mark_changed();
        listener
    }
}

impl Listener {
    /// Waits until there may be something to tell, or a key may be gone.
    pub async fn woken(&mut self) {
        // The sender lives in the channel, so waiting cannot fail.
        self.woken.changed().await.ok();
    }

    /// The next thing to tell. However long nobody asked, each flag and group is told once, as it changed last.
    pub fn hear(&mut self) -> Option<Arc<Told>> {
        let told = self.channel.log.lock().unwrap_or_else(PoisonError::into_inner).after(self.heard)?;
        self.heard = told.number;
        Some(told)
    }

    /// How many listen beside this one and with it.
    pub fn listeners(&self) -> usize {
        self.channel.wake.receiver_count()
    }
}
