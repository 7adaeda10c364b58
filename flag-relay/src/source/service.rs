//! The flag service as a source: everything is read at the start and whenever something may have been missed, changes
//! are heard of on the account stream, and while that is down everything is read from time to time.

mod client;
mod events;
mod forward;
mod key;
mod memory;
mod page;
mod targets;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use common::{backoff::Backoff, config::Secret, drain::Drain};
use tokio::{
    sync::{oneshot, watch},
    time,
};

pub(crate) use self::{
    client::Client,
    forward::{Forwarder, Outlet, Spool},
    key::{follow, key},
    targets::Targets,
};
use self::{
    client::{Error, Stream},
    events::{Account, Event},
    memory::{List, Memory, Verdict},
};
use super::{Sink, standing::StreamState};
use crate::{
    api::now,
    meters::Meters,
    shape::Environment,
    store::{Applied, Update},
};

/// Where the service is, and what opens it.
#[derive(Clone, Debug)]
pub struct Service {
    /// The proxy key, until a file says another.
    pub key: Option<Secret>,
    /// The file with the proxy key.
    pub key_file: Option<PathBuf>,
    /// Where it is asked.
    pub client_service: String,
    /// Where metrics go.
    pub metric_service: String,
}

/// How long a failure is let pass at first, and at the most: the documented relay asks every minute.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MOST_PAUSE: Duration = Duration::from_secs(60);
/// A stream that lived so long was a good one.
const GOOD_STREAM: Duration = Duration::from_secs(30);
/// How long until a list that was older than what was heard is read again.
const BEHIND_PAUSE: Duration = Duration::from_millis(500);
/// How long until everything is read again after a stream began: what was read then may have come from a part of the
/// service that had not heard yet of what happened before the stream.
const FIRST_LOOK: Duration = Duration::from_secs(5);
/// How often everything is read although nothing was heard.
const LOOK: Duration = Duration::from_secs(600);
/// What stands beside problems.
const PLACE: &str = "flag service";

/// The service as it is followed.
pub(crate) struct Follower {
    client: Arc<Client>,
    sink: Sink,
    meters: Arc<Meters>,
    key: watch::Receiver<Secret>,
    memory: Memory,
    /// What was told of in the log.
    told: String,
    /// Told once everything was read, or could not be.
    first: Option<oneshot::Sender<()>>,
}

/// Why a stream is no longer listened to.
enum End {
    Stop,
    KeyDeleted,
    KeyChanged,
    Failed(Error),
}

impl Follower {
    pub(crate) fn new(
        client: Arc<Client>,
        sink: Sink,
        meters: Arc<Meters>,
        key: watch::Receiver<Secret>,
    ) -> (Self, oneshot::Receiver<()>) {
        let (first, read) = oneshot::channel();
        let (memory, told) = (Memory::default(), String::new());
        (Self { client, sink, meters, key, memory, told, first: Some(first) }, read)
    }

    /// Follows the service until the drain starts.
    pub(crate) async fn run(mut self, drain: Drain) {
        let mut backoff = Backoff::new(FIRST_PAUSE, MOST_PAUSE);
        loop {
            self.key.mark_unchanged();
            let begun = Instant::now();
            let end = tokio::select! {
                () = drain.started() => End::Stop,
                end = self.follow() => end,
            };
            self.first.take();
            self.sink.standing.stream(StreamState::Disconnected, now_ms());
            self.meters.relays.hears(false);
            match end {
                End::Stop => return,
                End::KeyChanged => {
                    tracing::info!("the proxy key is another");
                    backoff.reset();
                    continue;
                }
                End::KeyDeleted => self.forget_all(),
                End::Failed(error) => self.complain(&error),
            }
            if begun.elapsed() > GOOD_STREAM {
                backoff.reset();
            }
            tokio::select! {
                () = drain.started() => return,
                () = time::sleep(backoff.wait(fastrand::f64())) => {}
                () = self.sink.look.notified() => {}
                changed = self.key.changed() => if changed.is_ok() { backoff.reset() },
            }
        }
    }

    /// Opens the stream, reads everything, and takes what comes, until it ends.
    async fn follow(&mut self) -> End {
        // What changes while everything is read is heard of: so the stream comes first.
        let stream = self.client.stream().await;
        if let Err(Error::Deleted) = stream {
            return End::KeyDeleted;
        }
        let read = self.read_all().await;
        self.first.take();
        if let Err(error) = read {
            return if matches!(error, Error::Deleted) { End::KeyDeleted } else { End::Failed(error) };
        }
        match stream {
            Ok(stream) => self.listen(stream).await,
            Err(error) => End::Failed(error),
        }
    }

    async fn listen(&mut self, mut stream: Stream) -> End {
        self.sink.standing.stream(StreamState::Connected, now_ms());
        self.meters.relays.hears(true);
        self.meters.relays.from_service.begin();
        tracing::info!("the account stream is open");
        let mut look = time::Instant::now() + FIRST_LOOK;
        loop {
            let patience = if self.memory.is_behind() { BEHIND_PAUSE } else { Duration::MAX };
            let event = tokio::select! {
                event = stream.next() => event,
                changed = self.key.changed() => match changed {
                    Ok(()) => return End::KeyChanged,
                    Err(_) => return End::Stop,
                },
                () = wanted(&self.sink, look) => {
                    look = time::Instant::now() + LOOK.mul_f64(0.5 + fastrand::f64());
                    match self.read_all().await {
                        Ok(()) => continue,
                        Err(Error::Deleted) => return End::KeyDeleted,
                        Err(error) => return End::Failed(error),
                    }
                }
                () = time::sleep(patience) => {
                    for id in self.memory.behind() {
                        if let Err(error) = self.read_environment(&id).await {
                            return End::Failed(error);
                        }
                    }
                    self.is_well();
                    continue;
                }
            };
            if event.is_ok() {
                self.meters.relays.from_service.add(1);
            }
            let taken = match event {
                Ok(Event::Account(Account::KeyDeleted)) => return End::KeyDeleted,
                Ok(Event::Account(account)) => self.take(account).await,
                Ok(Event::Changed(change)) => self.change(change).await,
                Err(error) => Err(error),
            };
            if let Err(error) = taken {
                return End::Failed(error);
            }
        }
    }

    /// What the account stream says of environments and keys.
    async fn take(&mut self, account: Account) -> Result<(), Error> {
        match account {
            Account::KeyDeleted => {}
            // An event that comes late may tell of one that is gone by now, or back.
            Account::Environments(ids) => {
                // The token may say which environments it is for.
                self.client.renew();
                for id in ids {
                    self.read_environment(&id).await?;
                }
            }
            Account::Key(id) => self.read_environment(&id).await?,
        }
        Ok(())
    }

    async fn change(&mut self, change: events::Change) -> Result<(), Error> {
        let list = change.list();
        match self.memory.hear(&change) {
            Verdict::Known => Ok(()),
            Verdict::Gone => {
                let (id, name) = (change.environment, change.identifier);
                let update = match list {
                    List::Flags(_) => Update::RemoveFlag(id, name),
                    List::Groups(_) => Update::RemoveGroup(id, name),
                };
                self.apply(vec![update]);
                Ok(())
            }
            Verdict::Read => self.read_list(list).await,
        }
    }

    async fn read_all(&mut self) -> Result<(), Error> {
        let environments = self.client.configuration(None).await?;
        let ids: BTreeSet<String> = environments.iter().map(|told| told.id.clone()).collect();
        self.memory.keep_only(&ids);
        let mut updates = vec![Update::Only(ids)];
        let now = Instant::now();
        let new = environments.into_iter().filter(|told| self.memory.take(told, now));
        updates.extend(new.map(Update::Environment));
        if self.apply(updates) {
            self.is_well();
        }
        Ok(())
    }

    /// One environment, whole; it is gone when the service does not have it.
    async fn read_environment(&mut self, id: &str) -> Result<(), Error> {
        let environments = self.client.configuration(Some(id)).await?;
        let found: Option<Environment> = environments.into_iter().find(|told| told.id == id);
        match found {
            Some(told) => {
                if self.memory.take(&told, Instant::now()) {
                    self.apply(vec![Update::Environment(told)]);
                }
            }
            None => {
                self.memory.forget(id);
                self.apply(vec![Update::Remove(id.to_owned())]);
            }
        }
        Ok(())
    }

    async fn read_list(&mut self, list: List) -> Result<(), Error> {
        let update = match &list {
            List::Flags(id) => {
                let told = self.client.flags(id).await?;
                self.memory.take_flags(id, &told, Instant::now()).then(|| Update::Flags(id.clone(), told))
            }
            List::Groups(id) => {
                let told = self.client.groups(id).await?;
                self.memory.take_groups(id, &told, Instant::now()).then(|| Update::Groups(id.clone(), told))
            }
        };
        if let Some(update) = update {
            self.apply(vec![update]);
        }
        Ok(())
    }

    /// Whether all of it was taken.
    fn apply(&mut self, updates: Vec<Update>) -> bool {
        let Applied { changes, refused, .. } = self.sink.store.apply(updates);
        for (id, changes) in &changes {
            tracing::info!(environment = &**id, changes = changes.len(), "the environment changed");
        }
        let mut problems = BTreeMap::new();
        for refused in refused {
            let why: Vec<String> = refused.problems.iter().map(ToString::to_string).collect();
            tracing::warn!(
                place = refused.environment,
                why = why.join("; "),
                "refused: what is served stays as it was"
            );
            self.meters.refused_loads.inc();
            problems.insert(refused.environment, why);
        }
        let is_good = problems.is_empty();
        if !is_good {
            self.sink.standing.read_in_part(problems, now_ms());
        }
        is_good
    }

    fn is_well(&mut self) {
        if self.memory.is_behind() {
            return;
        }
        if !self.told.is_empty() {
            self.told.clear();
            tracing::info!("the flag service answers again");
        }
        self.sink.standing.read(BTreeMap::new(), now_ms());
    }

    fn complain(&mut self, error: &Error) {
        let why = error.told();
        if self.told != why {
            tracing::warn!(why, "the flag service cannot be followed: what is served stays as it was");
            self.told.clone_from(&why);
        }
        self.sink.standing.read(BTreeMap::from([(PLACE.to_owned(), vec![why])]), now_ms());
    }

    fn forget_all(&mut self) {
        const WHY: &str = "the proxy key was deleted";
        if self.told != WHY {
            tracing::warn!("the proxy key was deleted: its environments are no longer served");
            WHY.clone_into(&mut self.told);
        }
        self.memory = Memory::default();
        self.apply(vec![Update::Only(BTreeSet::new())]);
        self.sink.standing.emptied(BTreeMap::from([(PLACE.to_owned(), vec![WHY.to_owned()])]), now_ms());
    }
}

/// Returns when everything is to be read: at this time, or when it is asked for.
async fn wanted(sink: &Sink, at: time::Instant) {
    tokio::select! {
        () = time::sleep_until(at) => {}
        () = sink.look.notified() => {}
    }
}

/// For the fuzzers: reads these bytes as a page and as a stream, whole and byte by byte.
pub(crate) fn attack(bytes: &[u8]) {
    if let Ok(page) = serde_json::from_slice(bytes) {
        let mut pages = page::Pages::default();
        pages.take(page).ok();
        pages.done().ok();
    }
    let whole = events::Reader::default().push(bytes);
    let mut reader = events::Reader::default();
    let split: Result<Vec<_>, _> = bytes.chunks(1).map(|byte| reader.push(byte)).collect();
    assert_eq!(
        split.map(|events| events.into_iter().flatten().collect()),
        whole,
        "it does not matter how it is split"
    );
}

fn now_ms() -> u64 {
    u64::try_from(now().as_millis()).unwrap_or(u64::MAX)
}
