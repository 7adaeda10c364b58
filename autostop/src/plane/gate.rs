//! The gate before one target: who goes through, who waits, and how many of each.
//!
//! Whoever comes is counted and looks at the phase under one lock, and a phase is set under the same
//! lock. So a fence has every connection either among those it counts or parked behind it: none can be
//! between the two.

mod report;
mod visit;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use common::quiet::Quiet;
use slab::Slab;
use tokio::sync::{Notify, Semaphore, watch};

pub use self::{
    report::{Counts, Report},
    visit::{Full, Standing, Visit},
};
use super::{
    dial::Place,
    visitor::{Visitor, now_ms},
};
use crate::wire;

/// A wake is asked for again after this time, for as long as somebody waits for it.
const WAKE_EVERY: Duration = Duration::from_secs(1);
/// That somebody came is told once in this time for each target: `journalctl -fu lw_tcp_proxy` has to show that traffic
/// arrives, and not each request of it.
const HEARD_EVERY: Duration = Duration::from_secs(10);
/// How many of those that waited may reach for the target at once.
const PACE: usize = 64;

/// What a target is doing, as the control plane has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Nothing was heard of it.
    #[default]
    Unknown,
    /// Arrivals go through.
    Awake,
    /// Arrivals are parked while it is decided whether it stops.
    Fenced,
    /// Arrivals are parked and wake it.
    Asleep,
    /// Arrivals are parked until it is ready.
    Waking,
    /// Arrivals are told that it failed.
    Failed,
    /// Arrivals are refused.
    Closed,
}

/// All that the control plane says of a target.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// What it is doing.
    pub phase: Phase,
    /// Grows with every change of the phase.
    pub generation: u64,
    /// Where it is.
    pub addresses: Arc<[Place]>,
    /// How long waking has taken so far.
    pub elapsed: Duration,
    /// How long waking takes as a rule.
    pub expected: Option<Duration>,
    /// Why it failed.
    pub error: String,
    /// When to come again.
    pub retry_after: Option<Duration>,
}

impl From<wire::TargetState> for State {
    fn from(told: wire::TargetState) -> Self {
        let phase = match told.phase() {
            wire::Phase::Unspecified => Phase::Unknown,
            wire::Phase::Awake => Phase::Awake,
            wire::Phase::Fenced => Phase::Fenced,
            wire::Phase::Asleep => Phase::Asleep,
            wire::Phase::Waking => Phase::Waking,
            wire::Phase::Failed => Phase::Failed,
            wire::Phase::Closed => Phase::Closed,
        };
        let millis = |told: u64| (told > 0).then(|| Duration::from_millis(told));
        Self {
            phase,
            generation: told.generation,
            addresses: told.addresses.iter().filter_map(|address| Place::parse(address)).collect(),
            elapsed: Duration::from_millis(told.elapsed_ms),
            expected: millis(told.expected_ms),
            error: told.error,
            retry_after: millis(told.retry_after_ms),
        }
    }
}

/// Somebody who may wake the target.
#[derive(Clone, Debug)]
pub struct Wanter {
    /// Where from.
    pub peer: SocketAddr,
    /// Speaking what.
    pub protocol: &'static str,
    /// Asking for what.
    pub detail: String,
}

impl From<&Visitor> for Wanter {
    fn from(visitor: &Visitor) -> Self {
        Self { peer: visitor.peer, protocol: visitor.protocol, detail: visitor.detail.clone() }
    }
}

/// See the module.
pub struct Gate {
    rule_id: Arc<str>,
    inside: Mutex<Inside>,
    changed: watch::Sender<u64>,
    bell: Arc<Notify>,
    pace: Arc<Semaphore>,
    turn: AtomicUsize,
    heard: Quiet,
}

struct Inside {
    state: State,
    told_at: Instant,
    removed: bool,
    open: Slab<Arc<Visitor>>,
    counts: Counts,
    /// Of those parked, how many want it awake.
    willing: u32,
    wanted_until: Option<Instant>,
    wanter: Option<Wanter>,
    wake_asked: Option<(u64, Instant)>,
    /// Ports that answered since the target began to wake.
    ready: BTreeSet<u16>,
    probing: BTreeSet<u16>,
    active_ms: u64,
    bytes_up: u64,
    bytes_down: u64,
    /// What those who wait said so far.
    held: usize,
}

impl Gate {
    /// A gate of which nothing was heard yet. The bell rings when a wake is wanted.
    pub fn new(rule_id: &str, bell: Arc<Notify>) -> Self {
        let inside = Inside {
            state: State::default(),
            told_at: Instant::now(),
            removed: false,
            open: Slab::new(),
            counts: Counts::default(),
            willing: 0,
            wanted_until: None,
            wanter: None,
            wake_asked: None,
            ready: BTreeSet::new(),
            probing: BTreeSet::new(),
            active_ms: now_ms(),
            bytes_up: 0,
            bytes_down: 0,
            held: 0,
        };
        Self {
            rule_id: rule_id.into(),
            inside: Mutex::new(inside),
            changed: watch::Sender::new(0),
            bell,
            pace: Arc::new(Semaphore::new(PACE)),
            turn: AtomicUsize::new(0),
            heard: Quiet::new(HEARD_EVERY),
        }
    }

    /// The rule it belongs to.
    pub fn rule_id(&self) -> &str {
        &self.rule_id
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets what the control plane says, and counts who is there at that very moment.
    pub fn set(&self, state: State) -> Counts {
        let mut inside = self.inside();
        let before = inside.state.phase;
        if before != state.phase || inside.state.generation != state.generation {
            inside.ready.clear();
            // A fence that is taken back is no reason to keep it awake.
            if state.phase == Phase::Awake && !matches!(before, Phase::Awake | Phase::Fenced) {
                inside.active_ms = now_ms();
            }
        }
        let phase = state.phase;
        inside.state = state;
        inside.told_at = Instant::now();
        let counts = inside.counts;
        drop(inside);
        if before != phase {
            tracing::debug!(rule = %self.rule_id, from = ?before, to = ?phase, ?counts, "phase");
        }
        self.tell();
        counts
    }

    /// The rule is in the plan, or is not any more: then whoever waits is refused.
    pub fn set_removed(&self, removed: bool) {
        let mut inside = self.inside();
        let changed = inside.removed != removed;
        inside.removed = removed;
        drop(inside);
        if changed {
            self.tell();
        }
    }

    fn tell(&self) {
        self.changed.send_modify(|change| *change += 1);
        self.bell.notify_one();
    }

    /// Who is there now.
    pub fn counts(&self) -> Counts {
        self.inside().counts
    }

    /// How many bytes of those who wait are kept.
    pub fn held(&self) -> usize {
        self.inside().held
    }

    /// Sees every change from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// What the control plane said last.
    pub fn state(&self) -> State {
        self.inside().state.clone()
    }

    /// The number of the phase.
    pub fn generation(&self) -> u64 {
        self.inside().state.generation
    }

    /// How long waking takes still, if that is known and was not wrong.
    pub fn left(&self) -> Option<Duration> {
        let inside = self.inside();
        let elapsed = inside.state.elapsed + inside.told_at.elapsed();
        inside.state.expected.filter(|_| inside.state.phase == Phase::Waking)?.checked_sub(elapsed)
    }

    /// How long waking has taken so far.
    pub fn elapsed(&self) -> Duration {
        let inside = self.inside();
        if inside.state.phase == Phase::Waking {
            inside.state.elapsed + inside.told_at.elapsed()
        } else {
            Duration::ZERO
        }
    }

    /// Whether somebody who comes to this port of the target would go through.
    pub fn is_through(&self, port: u16) -> bool {
        self.inside().standing(port) == Standing::Through
    }

    /// Somebody who does not stay wants the target awake, for so long.
    pub fn want_for(&self, time: Duration, wanter: Wanter) {
        let mut inside = self.inside();
        inside.wanted_until = Some(Instant::now() + time);
        inside.wanter = Some(wanter);
        drop(inside);
        self.bell.notify_one();
    }

    /// Who wants the target awake, if that has to be told now: while a fence may still be taken back,
    /// while it sleeps, and after a failure, so that it is tried again.
    pub fn wake_due(&self) -> Option<Wanter> {
        let now = Instant::now();
        let mut inside = self.inside();
        let asks = matches!(inside.state.phase, Phase::Fenced | Phase::Asleep | Phase::Failed);
        let wanted = inside.willing > 0 || inside.wanted_until.is_some_and(|until| until > now);
        let generation = inside.state.generation;
        let asked = |(of, at): (u64, Instant)| of == generation && now.duration_since(at) < WAKE_EVERY;
        if !asks || !wanted || inside.wake_asked.is_some_and(asked) {
            return None;
        }
        inside.wake_asked = Some((generation, now));
        inside.wanter.clone()
    }

    /// Somebody came.
    fn hear(&self, visitor: &Visitor) {
        if let Some(untold) = self.heard.speak(Instant::now()) {
            let Visitor { peer, protocol, detail, .. } = visitor;
            tracing::info!(rule = %self.rule_id, %peer, protocol, detail, untold, "traffic");
        }
    }

    /// A new link knows nothing of what was asked over the last one.
    pub fn ask_again(&self) {
        self.inside().wake_asked = None;
    }

    /// Whether the caller has to find out when this port answers, because nobody does yet.
    pub fn begin_probe(&self, port: u16) -> bool {
        let mut inside = self.inside();
        inside.is_probed(port) && inside.probing.insert(port)
    }

    /// Where to look next; nowhere when the search is over, and then it has ended.
    pub fn probe(&self, port: u16) -> Option<Arc<[Place]>> {
        let mut inside = self.inside();
        if inside.is_probed(port) {
            return Some(Arc::clone(&inside.state.addresses));
        }
        inside.probing.remove(&port);
        None
    }

    /// This port answered at these addresses.
    pub fn answered(&self, port: u16, at: &Arc<[Place]>) {
        let mut inside = self.inside();
        // Where it was before it moved does not matter.
        if inside.state.phase == Phase::Waking && inside.state.addresses == *at {
            inside.ready.insert(port);
        }
        drop(inside);
        self.tell();
    }

    /// Where it is, beginning with the address whose turn it is.
    pub fn addresses(&self) -> impl Iterator<Item = Place> + use<> {
        let addresses = Arc::clone(&self.inside().state.addresses);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let length = addresses.len();
        (0..length).filter_map(move |step| addresses.get(turn.wrapping_add(step) % length).cloned())
    }

    /// Those who waited reach for the target a few at a time.
    pub fn pace(&self) -> Arc<Semaphore> {
        Arc::clone(&self.pace)
    }
}

impl Inside {
    fn is_probed(&self, port: u16) -> bool {
        self.state.phase == Phase::Waking
            && !self.removed
            && !self.state.addresses.is_empty()
            && !self.ready.contains(&port)
    }

    fn standing(&self, port: u16) -> Standing {
        match self.state.phase {
            _ if self.removed => Standing::Closed,
            Phase::Awake => Standing::Through,
            Phase::Waking if self.ready.contains(&port) => Standing::Through,
            Phase::Failed => Standing::Failed,
            Phase::Closed => Standing::Closed,
            Phase::Unknown | Phase::Fenced | Phase::Asleep | Phase::Waking => Standing::Wait,
        }
    }
}

#[cfg(test)]
mod tests;
