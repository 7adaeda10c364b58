//! Keeps the book on disk, and tells streams what changed in it: durable first, then readable, then told.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context as _;
use common::disk;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::{broadcast, watch};

use super::{
    book::Book,
    change::{Event, To, difference},
    faults::Faults,
    pass::Passes,
};
use crate::{api::now, shape::Target};

/// Events that a slow stream may be behind; then it ends, and the relay reads everything again.
const MOST_EVENTS: usize = 4096;

/// Targets of an environment that are remembered.
const MOST_TARGETS: usize = 10_000;

/// What was posted as evaluated: by environment, flag and variation.
pub(super) type Counts = BTreeMap<String, BTreeMap<String, BTreeMap<String, u64>>>;

/// The book with everything around it.
pub(super) struct Office {
    pub(super) account: String,
    pub(super) passes: Passes,
    pub(super) faults: Mutex<Faults>,
    pub(super) told: broadcast::Sender<Arc<(To, Event)>>,
    /// Wakes streams to look whether they are still good; another number ends them.
    pub(super) look: watch::Sender<u64>,
    folder: PathBuf,
    book: Mutex<Arc<Book>>,
    counts: Mutex<Counts>,
    targets: Mutex<BTreeMap<String, BTreeMap<String, Target>>>,
}

impl Office {
    pub(super) fn open(folder: &Path, account: &str) -> anyhow::Result<Self> {
        let secret = folder.join("token-secret");
        if !secret.exists() {
            replace(&secret, random()?.as_bytes())?;
        }
        Ok(Self {
            account: account.to_owned(),
            passes: Passes::new(&fs::read(secret).context("read the secret of the tokens")?),
            faults: Mutex::default(),
            told: broadcast::Sender::new(MOST_EVENTS),
            look: watch::Sender::new(0),
            book: Mutex::new(Arc::new(read(&folder.join("book.json"))?)),
            counts: Mutex::new(read(&folder.join("metrics.json"))?),
            targets: Mutex::default(),
            folder: folder.to_owned(),
        })
    }

    /// The book as it is now.
    pub(super) fn book(&self) -> Arc<Book> {
        Arc::clone(&lock(&self.book))
    }

    /// The book as lists are read from: not quite now when that was asked for.
    pub(super) fn listed(&self) -> Arc<Book> {
        let stale = self.faults().stale();
        stale.unwrap_or_else(|| self.book())
    }

    /// Changes the book. What `change` refuses changes nothing.
    pub(super) fn write<T, E: From<anyhow::Error>>(
        &self,
        change: impl FnOnce(&mut Book) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut book = lock(&self.book);
        let mut next = Book::clone(&book);
        let done = change(&mut next)?;
        let bytes = serde_json::to_vec(&next).context("write the book")?;
        replace(&self.folder.join("book.json"), &bytes)?;
        let events = difference(&book, &next);
        *book = Arc::new(next);
        for event in events {
            // Nobody may be listening.
            self.told.send(Arc::new(event)).ok();
        }
        self.look.send_modify(|_| {});
        Ok(done)
    }

    /// Adds what was posted as evaluated.
    pub(super) fn count(&self, environment: &str, posted: &[(String, String, u64)]) -> anyhow::Result<()> {
        let mut counts = lock(&self.counts);
        let mut next = counts.clone();
        let flags = next.entry(environment.to_owned()).or_default();
        for (flag, variation, count) in posted {
            let total = flags.entry(flag.clone()).or_default().entry(variation.clone()).or_default();
            *total = total.saturating_add(*count);
        }
        replace(&self.folder.join("metrics.json"), &serde_json::to_vec(&next)?)?;
        *counts = next;
        Ok(())
    }

    pub(super) fn counts(&self) -> Counts {
        lock(&self.counts).clone()
    }

    /// Remembers a target until a restart, and not more of them than there is room for.
    pub(super) fn see(&self, environment: &str, target: Target) {
        let mut targets = lock(&self.targets);
        let targets = targets.entry(environment.to_owned()).or_default();
        if targets.len() < MOST_TARGETS || targets.contains_key(&target.identifier) {
            targets.insert(target.identifier.clone(), target);
        }
    }

    /// The targets of an environment, as far as they were told.
    pub(super) fn seen(&self, environment: &str) -> Vec<Target> {
        lock(&self.targets).get(environment).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    /// Milliseconds since 1970, by a clock that tests may put forward.
    pub(super) fn now_ms(&self) -> u64 {
        let now = u64::try_from(now().as_millis()).unwrap_or(u64::MAX);
        now.saturating_add(self.faults().clock_ahead_s.saturating_mul(1000))
    }
}

/// A name that nobody guesses.
pub(super) fn random() -> anyhow::Result<String> {
    let mut bytes = [0; 24];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system has no random bytes"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    disk::replace(path, bytes).with_context(|| format!("write {}", path.display()))
}

fn read<T: Default + serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("understand {}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}
