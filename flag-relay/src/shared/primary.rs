//! The primary: whoever has the lease writes what the flag service told into Redis, and tells replicas.

mod writer;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use common::{backoff::Backoff, config::Secret, drain::Drain};
use redis::RedisResult;
use tokio::{
    sync::watch,
    time::{self, Instant},
};

use super::{
    FIRST_PAUSE, MOST_PAUSE,
    layout::{self, CONTROL, HEALTH, Head, Mark},
    lease::{self, Held, LASTS, Lease, Scripts},
    link::{Connection, Link, Place},
    reader,
};
use crate::{
    environment::Environment,
    meters::Meters,
    source::{Sink, standing::StreamState},
    store::Update,
};

/// How often the lease is renewed, and tried for.
const RENEW: Duration = Duration::from_secs(1);
/// How often replicas are told how the flag service is, as the documented relay does.
const TELL: Duration = Duration::from_secs(20);
/// How long a primary that does not hear from the flag service keeps the lease from others.
const DEAF: Duration = Duration::from_secs(10);
/// How long everything is read again before a new lease writes.
const READ: Duration = Duration::from_secs(30);

/// See the module.
pub(crate) struct Primary {
    link: Arc<Link>,
    sink: Sink,
    meters: Arc<Meters>,
    key: watch::Receiver<Secret>,
    /// Whether it has the lease now.
    leads: watch::Sender<bool>,
    scripts: Scripts,
    own: String,
    /// The number of the last lease.
    fence: u64,
    /// What was being written when the connection broke: the lease may still be ours.
    term: Option<Term>,
    /// Whether it was said that Redis cannot be reached.
    is_away: bool,
}

/// What is written under one lease.
struct Term {
    lease: Lease,
    /// The last write that was tried.
    number: u64,
    /// The last write that is known to be there.
    there: u64,
    is_whole: bool,
    written: HashMap<Arc<str>, Arc<Environment>>,
    assets: HashMap<Arc<str>, BTreeSet<String>>,
    is_inventory_old: bool,
    /// Environments whose documents are to be looked at.
    unseen: Vec<Arc<str>>,
    told: Option<StreamState>,
    deaf: Option<Instant>,
}

/// Why a term ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Lost,
    /// Redis is not what it was.
    Another,
    Deaf,
    Stop,
}

impl Primary {
    /// A primary of this Redis.
    ///
    /// # Errors
    /// When it cannot be understood where that is.
    pub(crate) fn new(
        place: &Place,
        sink: Sink,
        meters: Arc<Meters>,
        key: watch::Receiver<Secret>,
    ) -> anyhow::Result<Self> {
        let (link, leads) = (Arc::new(Link::new(place)?), watch::Sender::new(false));
        let (scripts, own) = (Scripts::default(), format!("{:016x}", fastrand::u64(..)));
        Ok(Self { link, sink, meters, key, leads, scripts, own, fence: 0, term: None, is_away: false })
    }

    /// Where connections come from, and whether this one leads.
    pub(super) fn shared(&self) -> (Arc<Link>, watch::Receiver<bool>) {
        (Arc::clone(&self.link), self.leads.subscribe())
    }

    /// What is in Redis, for who has nothing else to serve.
    pub(crate) async fn read(&self) -> RedisResult<Vec<Update>> {
        let mut connection = self.link.connect().await?;
        let mut updates = Vec::new();
        for id in reader::ids(&mut connection).await? {
            if let Ok(told) = reader::lists(&mut connection, &id).await?.read(&id, None) {
                updates.push(Update::Environment(told));
            }
        }
        Ok(updates)
    }

    /// Runs until the drain starts.
    pub(crate) async fn run(mut self, drain: Drain) {
        let mut backoff = Backoff::new(FIRST_PAUSE, MOST_PAUSE);
        while !drain.is_started() {
            let ended = tokio::select! {
                ended = self.session(&drain, &mut backoff) => ended,
                () = too_late(&drain) => return,
            };
            self.leads.send_replace(false);
            self.sink.standing.cache(false);
            let Err(error) = ended else { return };
            if !self.is_away {
                self.is_away = true;
                tracing::warn!(%error, "Redis cannot be written: replicas serve what they have");
            }
            tokio::select! {
                () = drain.started() => return,
                () = time::sleep(backoff.wait(fastrand::f64())) => {}
            }
        }
    }

    async fn session(&mut self, drain: &Drain, backoff: &mut Backoff) -> RedisResult<()> {
        let mut connection = self.link.connect().await?;
        loop {
            let term = self.begin(&mut connection).await?;
            backoff.reset();
            self.sink.standing.cache(true);
            if std::mem::take(&mut self.is_away) {
                tracing::info!("Redis answers again");
            }
            if let Some(mut term) = term {
                let end = match self.lead(&mut connection, &mut term, drain).await {
                    Ok(end) => end,
                    Err(error) => {
                        self.term = Some(term).filter(|term| term.is_whole);
                        return Err(error);
                    }
                };
                self.leads.send_replace(false);
                tracing::info!(fence = term.lease.fence, why = ?end, "another primary may write now");
                if end != End::Lost {
                    self.scripts.resign(&mut connection, &term.lease).await?;
                }
                if end == End::Another {
                    continue;
                }
            }
            tokio::select! {
                () = drain.started() => return Ok(()),
                () = time::sleep(RENEW.mul_f64(0.5 + fastrand::f64() / 2.0)) => {}
            }
        }
    }

    /// The lease, if nobody else has it; the one of before, if it is still ours and nothing else was written.
    async fn begin(&mut self, connection: &mut Connection) -> RedisResult<Option<Term>> {
        if let Some(mut term) = self.term.take() {
            match self.scripts.renew(connection, &term.lease).await? {
                // What was being written when the connection broke is there, or is not. What was known to be there
                // and is not was lost with an older Redis.
                Some(Some(Mark(fence, number)))
                    if fence == term.lease.fence && (number == term.there || number == term.number) =>
                {
                    term.there = number;
                    return Ok(Some(term));
                }
                Some(_) => self.scripts.resign(connection, &term.lease).await?,
                None => {}
            }
        }
        if !self.is_well() {
            redis::cmd("PING").query_async::<String>(connection).await?;
            return Ok(None);
        }
        let lease = self.scripts.take(connection, &self.own, self.fence).await?;
        self.fence = lease.as_ref().map_or(self.fence, |lease| lease.fence);
        Ok(lease.map(Term::new))
    }

    /// Whether what is served is what the flag service has: only then it may become what replicas serve.
    fn is_well(&self) -> bool {
        self.sink.standing.now().is_whole
    }

    async fn lead(
        &mut self,
        connection: &mut Connection,
        term: &mut Term,
        drain: &Drain,
    ) -> RedisResult<End> {
        let mut changed = self.sink.store.watch();
        let held = if term.is_whole {
            self.write_changes(connection, term).await?
        } else {
            // Whoever had the lease before may have heard of more: everything is read once more first.
            if let Some(end) = self.read_again(connection, term, drain).await? {
                return Ok(end);
            }
            changed.mark_unchanged();
            tracing::info!(fence = term.lease.fence, "this primary writes");
            self.take_over(connection, term).await?
        };
        if held == Held::No {
            return Ok(End::Lost);
        }
        self.leads.send_replace(true);
        let mut renew = time::interval(RENEW);
        renew.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let mut tell = time::interval(TELL);
        loop {
            tokio::select! {
                () = drain.started() => return Ok(End::Stop),
                changed = changed.changed() => {
                    if changed.is_err() || self.write_changes(connection, term).await? == Held::No {
                        return Ok(End::Lost);
                    }
                }
                _ = renew.tick() => {
                    if let Some(end) = self.renew(connection, term).await? {
                        return Ok(end);
                    }
                    if self.mend(connection, term).await? == Held::No {
                        return Ok(End::Lost);
                    }
                }
                _ = tell.tick() => term.told = None,
            }
        }
    }

    async fn read_again(
        &self,
        connection: &mut Connection,
        term: &Term,
        drain: &Drain,
    ) -> RedisResult<Option<End>> {
        let before = self.sink.standing.now().reads;
        let deadline = Instant::now() + READ;
        self.sink.look.notify_one();
        loop {
            let now = self.sink.standing.now();
            if now.is_whole && now.reads > before {
                return Ok(None);
            }
            if !now.is_whole || Instant::now() > deadline {
                return Ok(Some(End::Deaf));
            }
            if self.scripts.renew(connection, &term.lease).await?.is_none() {
                return Ok(Some(End::Lost));
            }
            tokio::select! {
                () = drain.started() => return Ok(Some(End::Stop)),
                () = time::sleep(Duration::from_millis(20)) => {}
            }
        }
    }

    async fn renew(&self, connection: &mut Connection, term: &mut Term) -> RedisResult<Option<End>> {
        // What was written is gone or older when Redis is another than it was.
        let own = Mark(term.lease.fence, term.there);
        match self.scripts.renew(connection, &term.lease).await? {
            None => return Ok(Some(End::Lost)),
            Some(head) if head != Some(own) => return Ok(Some(End::Another)),
            Some(_) => {}
        }
        let state = self.sink.standing.now();
        if term.told != Some(state.stream.state) {
            term.told = Some(state.stream.state);
            let told = serde_json::to_string(&state.stream).unwrap_or_default();
            redis::cmd("SET").arg(HEALTH).arg(told).query_async::<()>(connection).await?;
            let told = layout::action(state.stream.state);
            lease::add(connection, CONTROL, layout::MOST_EVENTS, &told).await?;
            if term.is_inventory_old && self.write_inventory(connection, term).await? == Held::No {
                return Ok(Some(End::Lost));
            }
        }
        if state.is_whole {
            term.deaf = None;
            return Ok(None);
        }
        let since = *term.deaf.get_or_insert_with(Instant::now);
        Ok((since.elapsed() > DEAF).then_some(End::Deaf))
    }
}

/// Returns when a stop has waited long enough for a Redis that does not answer; the lease runs out by itself.
async fn too_late(drain: &Drain) {
    const LAST_WORDS: Duration = Duration::from_secs(1);
    drain.started().await;
    time::sleep(LAST_WORDS).await;
}

impl Term {
    fn new(lease: Lease) -> Self {
        Self {
            lease,
            number: 0,
            there: 0,
            is_whole: false,
            written: HashMap::new(),
            assets: HashMap::new(),
            is_inventory_old: true,
            unseen: Vec::new(),
            told: None,
            deaf: None,
        }
    }

    fn next(&mut self) -> Head {
        self.number += 1;
        Head { mark: Mark(self.lease.fence, self.number), is_whole: self.is_whole }
    }
}

/// Compile-time check that the lease outlives several renewals.
const _: () = assert!(LASTS.as_secs() >= 3 * RENEW.as_secs());
