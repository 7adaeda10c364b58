//! Delivers what is queued, one record of an agent at a time, and carries what cannot wait.

mod attempt;
mod carry;
mod check;
pub(crate) mod holds;
pub(crate) mod verdict;

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use common::{drain::Drain, quiet::Quiet};
use tokio::time;

use self::{attempt::Outcome, holds::Holds};
use crate::{
    beside::beside,
    envelope::{Envelope, decode},
    fleet::Fleet,
    keys::Keys,
    queue::{Queue, Stored, now_ms},
    route::Routes,
    upstream::Upstream,
};

/// How long a record waits that cannot be read or put aside just now.
const PAUSE: Duration = Duration::from_secs(2);
/// How long one waits whose key is not known; it is woken when the key is told.
const UNKNOWN: Duration = Duration::from_secs(60);
/// How long a delivery may take on once the stop was asked for.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Where data goes, as the configuration has it at the moment.
pub(crate) struct Plan {
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    pub(crate) routes: Routes,
    /// How long the other side may take.
    pub(crate) patience: Duration,
    /// What is older becomes a dead letter.
    pub(crate) max_age: Duration,
}

/// How often the first record of an agent was tried, and when it is tried again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tries {
    pub(crate) count: u32,
    pub(crate) next: Instant,
}

/// Everything that a delivery needs.
pub(crate) struct Relay {
    pub(crate) queue: Arc<Queue>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) fleet: Arc<Fleet>,
    plan: RwLock<Arc<Plan>>,
    holds: Mutex<Holds>,
    tries: Mutex<HashMap<u32, Tries>>,
    /// By the tag of a key that is not known: who waits for it.
    unknown: Mutex<HashMap<String, Vec<u32>>>,
}

/// The lane for what an agent sends to a path that the other side refuses.
fn aside(agent: &str, path: &str) -> String {
    format!("{agent} {path}")
}

/// Whether this is such a lane. An agent has three words for a name.
pub(crate) fn is_aside(name: &str) -> bool {
    name.split(' ').count() > 3
}

impl Relay {
    pub(crate) fn new(queue: Arc<Queue>, keys: Arc<Keys>, fleet: Arc<Fleet>, plan: Plan) -> Self {
        Self {
            queue,
            keys,
            fleet,
            plan: RwLock::new(Arc::new(plan)),
            holds: Mutex::default(),
            tries: Mutex::default(),
            unknown: Mutex::default(),
        }
    }

    /// Where data goes now.
    pub(crate) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Data goes elsewhere from now on; what is on its way ends where it went.
    pub(crate) fn follow(&self, plan: Plan) {
        let before = {
            let mut now = self.plan.write().unwrap_or_else(PoisonError::into_inner);
            // Upstreams are known by their index there.
            *self.holds() = Holds::default();
            std::mem::replace(&mut *now, Arc::new(plan))
        };
        before.upstreams.iter().for_each(|upstream| upstream.let_go());
        self.queue.wake();
    }

    pub(crate) fn holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tries(&self) -> MutexGuard<'_, HashMap<u32, Tries>> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the first record of an agent fares, if it was tried in vain.
    pub(crate) fn tried(&self, agent: u32) -> Option<Tries> {
        self.tries().get(&agent).copied()
    }

    /// A key that was not known is from now on: who waits for it need not wait longer.
    pub(crate) fn key_is_told(&self, tag: &str) {
        let waiting = self.unknown.lock().unwrap_or_else(PoisonError::into_inner).remove(tag);
        waiting.into_iter().flatten().for_each(|agent| self.queue.nudge(agent));
    }

    /// Delivers until the drain starts.
    pub(crate) async fn run(self: Arc<Self>, drain: Drain) {
        loop {
            let agent = tokio::select! {
                () = drain.started() => return,
                agent = self.queue.take() => agent,
            };
            tokio::select! {
                () = Box::pin(self.serve(agent)) => {}
                // It stays queued, and is sent again.
                () = late(&drain) => return,
            }
        }
    }

    async fn serve(self: &Arc<Self>, agent: u32) {
        let first = match self.queue.first_warm(agent) {
            Some(stored) => Ok(Ok(Some(stored))),
            None => {
                let own = Arc::clone(self);
                beside(move || own.queue.first(agent)).await
            }
        };
        let stored = match first {
            Ok(Ok(Some(stored))) => stored,
            Ok(Ok(None)) => return self.queue.give_back(agent),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ResourceBusy => {
                return self.queue.retry(agent, Instant::now() + jittered(50));
            }
            error => {
                static QUIET: Quiet = Quiet::new(Duration::from_secs(10));
                if let Some(suppressed) = QUIET.speak(Instant::now()) {
                    tracing::warn!(agent, ?error, suppressed, "a queued record cannot be read now");
                }
                return self.queue.retry(agent, Instant::now() + PAUSE);
            }
        };
        let plan = self.plan();
        let name = self.queue.name(agent);
        let age = Duration::from_millis(now_ms().saturating_sub(stored.time_ms));
        let first_ms = stored.time_ms;
        self.fleet.note(&name, |seen| seen.first_ms = Some(first_ms));
        let Some(envelope) = decode(&stored.head) else {
            return self.bury(agent, stored, "its head is of no known kind".to_owned()).await;
        };
        if age >= plan.max_age {
            return self.bury(agent, stored, "older than queue_max_age".to_owned()).await;
        }
        let is_main = !is_aside(&name);
        if is_main && self.queue.belongs_aside(&stored, &aside(&name, &envelope.path)) {
            return self.set_aside(agent, &stored, &name, &envelope, Instant::now() + PAUSE).await;
        }
        match self.attempt(&plan, &envelope, &stored, agent, &name).await {
            Outcome::Delivered => {
                self.tries().remove(&agent);
                let lag_ms = now_ms().saturating_sub(first_ms);
                self.fleet.note(&name, |seen| {
                    seen.lag_ms = Some(lag_ms);
                    seen.last_error = None;
                });
                self.queue.delivered(agent, &stored);
            }
            Outcome::Dead(status) => {
                self.tries().remove(&agent);
                self.bury(agent, stored, format!("the other side answered {status}")).await;
            }
            Outcome::Wait(until) => self.retry(agent, until),
            Outcome::Aside(until) if is_main => {
                self.set_aside(agent, &stored, &name, &envelope, until).await;
            }
            Outcome::Aside(until) => self.retry(agent, until),
            Outcome::NoKey(tag) => self.wait_for_key(agent, &name, tag),
        }
    }

    /// The first record of the agent is tried again then.
    fn retry(&self, agent: u32, next: Instant) {
        {
            let mut tries = self.tries();
            let known = tries.entry(agent).or_insert(Tries { count: 0, next });
            known.count = known.count.saturating_add(1);
            known.next = next;
        }
        self.queue.retry(agent, next);
    }

    async fn set_aside(&self, agent: u32, stored: &Stored, name: &str, envelope: &Envelope, until: Instant) {
        self.tries().remove(&agent);
        if !self.queue.set_aside(agent, stored, aside(name, &envelope.path)).await {
            // It keeps its place instead.
            self.retry(agent, until.max(Instant::now() + PAUSE));
        }
    }

    fn wait_for_key(&self, agent: u32, name: &str, tag: String) {
        self.fleet.note(name, |seen| seen.last_error = Some("waits for its API key".to_owned()));
        static QUIET: Quiet = Quiet::new(Duration::from_secs(60));
        if let Some(suppressed) = QUIET.speak(Instant::now()) {
            tracing::info!(agent = name, suppressed, "data waits until its agent tells its API key again");
        }
        self.retry(agent, Instant::now() + UNKNOWN);
        {
            let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
            let waiting = unknown.entry(tag.clone()).or_default();
            if !waiting.contains(&agent) {
                waiting.push(agent);
            }
        }
        // It may have been told meanwhile.
        if self.keys.key(&tag).is_some() {
            self.key_is_told(&tag);
        }
    }

    async fn bury(self: &Arc<Self>, agent: u32, stored: Stored, reason: String) {
        let own = Arc::clone(self);
        let name = self.queue.name(agent);
        self.fleet.note(&name, |seen| {
            seen.rejected += 1;
            seen.last_error = Some(reason.clone());
        });
        static QUIET: Quiet = Quiet::new(Duration::from_secs(10));
        if let Some(suppressed) = QUIET.speak(Instant::now()) {
            let number = stored.position.number;
            tracing::warn!(agent = name, number, reason, suppressed, "a dead letter");
        }
        let buried = beside(move || own.queue.bury(agent, &stored, &reason)).await;
        if !matches!(buried, Ok(Ok(()))) {
            static QUIET: Quiet = Quiet::new(Duration::from_secs(10));
            if let Some(suppressed) = QUIET.speak(Instant::now()) {
                tracing::warn!(?buried, suppressed, "a dead letter cannot be put aside now");
            }
            self.retry(agent, Instant::now() + PAUSE);
        }
    }
}

/// Returns some time after the stop was asked for.
async fn late(drain: &Drain) {
    drain.started().await;
    time::sleep(LAST_WORDS).await;
}

fn jittered(most_ms: u64) -> Duration {
    Duration::from_millis(fastrand::u64(most_ms / 2..=most_ms))
}
