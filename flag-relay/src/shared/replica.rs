//! A replica: reads what the primary writes, and hears of it on the stream of events, from the entry on that it heard
//! last. What it does not hear of it finds all the same: the number of the last write says whether something is missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use common::{backoff::Backoff, disk, drain::Drain};
use redis::{RedisResult, streams::StreamReadReply};
use tokio::{sync::oneshot, task::spawn_blocking, time};

use super::{
    FIRST_PAUSE, MOST_PAUSE,
    layout::{self, EVENTS, FIELD, HEAD, HEALTH, Head, LEASE, Unfit},
    link::{Connection, Link, Place},
    marks::{Marks, Verdict},
    reader,
};
use crate::{
    api::now,
    meters::Meters,
    source::{Sink, standing::StreamState},
    store::{Applied, Update},
};

/// In the data folder.
const FILE: &str = "replica.json";
/// How long an event is waited for until everything is looked at.
const WAIT: Duration = Duration::from_secs(1);
/// Events that are read in one go.
const MOST_READ: usize = 500;
/// How often an environment that is being written is read again at once.
const AGAIN: usize = 5;
/// How long something may be other than the index says, until that is told.
const TORN: Duration = Duration::from_secs(10);
/// How often everything is read where there is no index.
const LOOK: Duration = Duration::from_secs(60);
/// What stands beside problems.
const PLACE: &str = "Redis";

/// See the module.
pub(crate) struct Replica {
    link: Arc<Link>,
    sink: Sink,
    meters: Arc<Meters>,
    file: PathBuf,
    marks: Marks,
    is_unkept: bool,
    /// The last event that was heard.
    heard: Option<String>,
    /// When everything was read last where there is no index.
    looked: Option<Instant>,
    /// Since when something is not what the index says.
    torn: Option<Instant>,
    problems: BTreeMap<String, Vec<String>>,
    is_away: bool,
    first: Option<oneshot::Sender<()>>,
}

impl Replica {
    /// A replica of this Redis; told once it has read everything, or could not.
    ///
    /// # Errors
    /// When it cannot be understood where that is.
    pub(crate) fn new(
        place: &Place,
        sink: Sink,
        meters: Arc<Meters>,
        data_dir: &Path,
    ) -> anyhow::Result<(Self, oneshot::Receiver<()>)> {
        let (first, read) = oneshot::channel();
        let file = data_dir.join(FILE);
        // Without it, or with one that is broken, what is in Redis is taken as it is.
        let marks = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let own = Self {
            link: Arc::new(Link::new(place).context("understand REDIS_ADDRESS")?),
            sink,
            meters,
            file,
            marks: marks.unwrap_or_default(),
            is_unkept: false,
            heard: None,
            looked: None,
            torn: None,
            problems: BTreeMap::new(),
            is_away: false,
            first: Some(first),
        };
        Ok((own, read))
    }

    /// Follows until the drain starts.
    pub(crate) async fn run(mut self, drain: Drain) {
        let mut backoff = Backoff::new(FIRST_PAUSE, MOST_PAUSE);
        loop {
            let failed = tokio::select! {
                () = drain.started() => break,
                failed = self.session(&mut backoff) => failed,
            };
            self.first.take();
            self.sink.standing.cache(false);
            self.sink.standing.stream(StreamState::Disconnected, now_ms());
            if let Err(error) = failed
                && !self.is_away
            {
                self.is_away = true;
                tracing::warn!(%error, "Redis cannot be read: what is served stays as it was");
            }
            tokio::select! {
                () = drain.started() => break,
                () = time::sleep(backoff.wait(fastrand::f64())) => {}
            }
        }
        self.keep().await;
    }

    async fn session(&mut self, backoff: &mut Backoff) -> RedisResult<()> {
        let mut connection = self.link.connect().await?;
        // Who waits for events can be asked nothing else meanwhile.
        let mut waiting = self.link.connect().await?;
        let last = tail(&mut connection).await?;
        let is_gap = match &self.heard {
            Some(heard) => !is_there(&mut connection, heard, &last).await?,
            None => true,
        };
        if is_gap {
            if self.heard.is_some() {
                tracing::info!("events were missed: everything is read again");
                self.meters.relays.gaps.inc();
            }
            self.heard = Some(last);
            self.looked = None;
        }
        self.meters.relays.from_primary.begin();
        loop {
            self.look(&mut connection).await?;
            backoff.reset();
            self.first.take();
            self.sink.standing.cache(true);
            if std::mem::take(&mut self.is_away) {
                tracing::info!("Redis answers again");
            }
            let named = self.hear(&mut waiting).await?;
            if self.looked.is_some() && !named.is_empty() {
                self.read_named(&mut connection, &named).await?;
            }
            if self.is_unkept {
                self.keep().await;
            }
        }
    }

    /// Waits for events, and says which environments they name.
    async fn hear(&mut self, waiting: &mut Connection) -> RedisResult<BTreeSet<String>> {
        let heard = self.heard.clone().unwrap_or_else(|| "0-0".to_owned());
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(MOST_READ).arg("BLOCK").arg(milliseconds(WAIT));
        command.arg("STREAMS").arg(EVENTS).arg(heard);
        let told: Option<StreamReadReply> = command.query_async(waiting).await?;
        let mut named = BTreeSet::new();
        for entry in told.into_iter().flat_map(|told| told.keys).flat_map(|stream| stream.ids) {
            self.meters.relays.from_primary.add(1);
            if let Some(event) = entry.get::<Vec<u8>>(FIELD) {
                named.extend(layout::named(&event));
            }
            self.heard = Some(entry.id);
        }
        Ok(named)
    }

    /// Looks whether there is something new, and takes it.
    async fn look(&mut self, connection: &mut Connection) -> RedisResult<()> {
        let begun = Instant::now();
        let told = async {
            let head = reader::one(connection, HEAD).await?;
            let lease: bool = redis::cmd("EXISTS").arg(LEASE).query_async(connection).await?;
            Ok((head, lease, reader::one(connection, HEALTH).await?))
        };
        let told: RedisResult<_> = told.await;
        self.meters.relays.read.note(begun.elapsed(), told.is_err());
        let (head, has_primary, health) = told?;
        let is_led = has_primary || head.is_none();
        self.tell_stream(health.as_deref().filter(|_| is_led));
        let Some(head) = head.as_deref().and_then(Head::parse) else {
            if self.marks.has_index() {
                // A Redis that lost some of its keys, or all: what is left says nothing of what is gone.
                if self.torn.get_or_insert_with(Instant::now).elapsed() > TORN {
                    let why = "Redis lost what was written there; a primary must write again";
                    self.problem("older", Some(why));
                }
                return Ok(());
            }
            // Empty, or written by the documented relay.
            if self.looked.is_none_or(|at| at.elapsed() > LOOK) {
                self.read_documented(connection).await?;
                self.looked = Some(Instant::now());
            }
            return Ok(());
        };
        self.looked = None;
        match self.marks.judge(head, has_primary, Instant::now()) {
            Verdict::Known => {
                self.torn = None;
                self.problem("older", None);
            }
            Verdict::Older => {
                self.problem(
                    "older",
                    Some("Redis has older flags than are served; a primary must write again"),
                );
            }
            Verdict::Newer => self.read_index(connection, head).await?,
        }
        Ok(())
    }

    async fn read_index(&mut self, connection: &mut Connection, least: Head) -> RedisResult<()> {
        let mut torn = BTreeSet::new();
        for _ in 0..AGAIN {
            torn.clear();
            let mut is_complete = true;
            let (Some(head), index) = reader::index(connection).await? else { return Ok(()) };
            if head.mark < least.mark {
                return Ok(());
            }
            let mut updates = Vec::new();
            let mut taken = Vec::new();
            for (id, entry) in &index {
                if !self.marks.is_new(id, entry) {
                    continue;
                }
                match reader::lists(connection, id).await?.read(id, Some(entry)) {
                    Ok(told) => {
                        updates.push(Update::Environment(told));
                        taken.push((id.clone(), entry.mark));
                    }
                    Err(Unfit::Torn) => {
                        is_complete = false;
                        torn.insert(id.clone());
                    }
                    Err(error) => {
                        is_complete = false;
                        updates.clear();
                        self.problem(id, Some(&error.to_string()));
                        break;
                    }
                }
            }
            if head.is_whole {
                // Nothing is gone that another write has brought back meanwhile.
                let ids: BTreeSet<String> = index.keys().cloned().collect();
                updates.insert(0, Update::Only(ids));
            }
            let refused = self.apply(updates);
            for (id, mark) in taken {
                if refused.contains(&id) {
                    is_complete = false;
                } else {
                    self.problem(&id, None);
                    self.marks.take(&id, mark);
                    self.is_unkept = true;
                }
            }
            if is_complete {
                self.marks.finish(head, |id| index.contains_key(id));
                self.problem("older", None);
                self.is_unkept = true;
                break;
            }
        }
        if torn.is_empty() {
            self.torn = None;
        } else if self.torn.get_or_insert_with(Instant::now).elapsed() > TORN {
            for id in torn {
                self.problem(&id, Some("what is in Redis is not what a primary wrote there"));
            }
        }
        Ok(())
    }

    /// Without an index, every environment of which there is a list of keys is one.
    async fn read_documented(&mut self, connection: &mut Connection) -> RedisResult<()> {
        let ids: BTreeSet<String> = reader::ids(connection).await?.into_iter().collect();
        if ids.is_empty() {
            // Redis is new, and nothing is gone because of that.
            return Ok(());
        }
        let mut updates = vec![Update::Only(ids.clone())];
        for id in &ids {
            match reader::lists(connection, id).await?.read(id, None) {
                Ok(told) => {
                    self.problem(id, None);
                    updates.push(Update::Environment(told));
                }
                Err(error) => self.problem(id, Some(&error.to_string())),
            }
        }
        self.apply(updates);
        Ok(())
    }

    /// Without an index, an event says what is to be read.
    async fn read_named(&mut self, connection: &mut Connection, ids: &BTreeSet<String>) -> RedisResult<()> {
        let mut updates = Vec::new();
        for id in ids {
            let lists = reader::lists(connection, id).await?;
            if lists.keys.is_none() && lists.flags.is_none() {
                updates.push(Update::Remove(id.clone()));
            } else if let Ok(told) = lists.read(id, None) {
                updates.push(Update::Environment(told));
            }
        }
        self.apply(updates);
        Ok(())
    }

    /// Which environments were refused.
    fn apply(&mut self, updates: Vec<Update>) -> BTreeSet<String> {
        let Applied { changes, refused, .. } = self.sink.store.apply(updates);
        for (id, changes) in &changes {
            tracing::info!(environment = &**id, changes = changes.len(), "the environment changed");
        }
        let ids = refused.iter().map(|refused| refused.environment.clone()).collect();
        for refused in refused {
            let why: Vec<String> = refused.problems.iter().map(ToString::to_string).collect();
            self.problem(&refused.environment, Some(&why.join("; ")));
        }
        self.sink.standing.replicate(self.problems.clone(), now_ms());
        ids
    }

    /// Something is wrong, or no longer; told once.
    fn problem(&mut self, place: &str, why: Option<&str>) {
        let place = if place == "older" { PLACE } else { place };
        match why {
            Some(why) => {
                let told = vec![why.to_owned()];
                if self.problems.get(place) != Some(&told) {
                    tracing::warn!(place, why, "refused: what is served stays as it was");
                    self.meters.refused_loads.inc();
                    self.problems.insert(place.to_owned(), told);
                }
            }
            None if self.problems.remove(place).is_none() => return,
            None => {}
        }
        self.sink.standing.replicate(self.problems.clone(), now_ms());
    }

    /// Tells how the primary hears from the flag service, as it says; nothing when there is no primary.
    fn tell_stream(&self, told: Option<&str>) {
        #[derive(serde::Deserialize)]
        struct Told {
            state: StreamState,
            since: u64,
        }
        match told.and_then(|told| serde_json::from_str::<Told>(told).ok()) {
            Some(Told { state, since }) => self.sink.standing.stream(state, since),
            None => self.sink.standing.stream(StreamState::Disconnected, now_ms()),
        }
    }

    async fn keep(&mut self) {
        self.is_unkept = false;
        let (file, Ok(bytes)) = (self.file.clone(), serde_json::to_vec(&self.marks)) else { return };
        let kept = spawn_blocking(move || disk::replace(&file, &bytes)).await;
        if !matches!(kept, Ok(Ok(()))) {
            tracing::debug!("what was taken from Redis cannot be kept");
        }
    }
}

/// The last event.
async fn tail(connection: &mut Connection) -> RedisResult<String> {
    let mut command = redis::cmd("XREVRANGE");
    command.arg(EVENTS).arg("+").arg("-").arg("COUNT").arg(1);
    let last: redis::streams::StreamRangeReply = command.query_async(connection).await?;
    Ok(last.ids.into_iter().next().map_or_else(|| "0-0".to_owned(), |entry| entry.id))
}

/// Whether this event is still there, so that all that follow are.
async fn is_there(connection: &mut Connection, id: &str, last: &str) -> RedisResult<bool> {
    if id == last {
        return Ok(true);
    }
    let found: redis::streams::StreamRangeReply =
        redis::cmd("XRANGE").arg(EVENTS).arg(id).arg(id).query_async(connection).await?;
    Ok(!found.ids.is_empty())
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn now_ms() -> u64 {
    milliseconds(now())
}
