//! Pure. The life of one target: events and the time in, orders out.
//!
//! This is the very function that the model checker explores (`tests/model.rs`). What it promises:
//! a stop is called only after every known plane answered the fence as idle, unless it is forced; at most
//! one call is in flight; after a call whose effect is not certain, the target is looked at before
//! anything else is called; a change of state that a call follows is ordered to be journaled before it.

mod asked;
mod event;
mod rebase;
mod rest;
mod seen;
mod settings;
mod stage;
mod state;
mod tell;
mod wake;

use std::{collections::VecDeque, time::Duration};

use jiff::Timestamp;

pub use event::{CallId, Desired, Event, Needed, Order, Outcome, Refusal, Status, Verb};
pub use rest::Keep;
pub use settings::{OnExternalChange, Pace, Settings};
pub use state::{Change, State, Why};

use crate::{
    idle::{Moment, Planes},
    wire::Phase,
};
use stage::{Call, Stage, Step, Then};

/// What the caller knows when it takes a step.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The steady clock: all waiting is measured by it.
    pub steady: Moment,
    /// The wall clock: only for the records.
    pub wall: Timestamp,
    /// A random number from 0 to 1, to spread retries.
    pub luck: f64,
}

/// One target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    state: State,
    stage: Stage,
    phase: Phase,
    generation: u64,
    planes: Planes,
    call: Option<Call>,
    next_id: u64,
    poll_at: Moment,
    /// What was seen once, against all expectation. Seen twice, it is believed.
    doubt: Option<Status>,
    /// Status calls that failed in a row.
    misses: u32,
    last_seen: Option<Status>,
    addresses: Vec<String>,
    /// Somebody came while it could not be started.
    wanted: Option<Why>,
    needed: Needed,
    desired: Desired,
    /// Whether the schedule is heeded: it is not after it was overruled by hand, until it changes.
    heed: bool,
    up_since: Moment,
    keep_until: Moment,
    /// For how long a warmup by hand wants it up.
    keep: Duration,
    /// When wakes failed, since the last that did not.
    failures: VecDeque<Moment>,
    error: Option<String>,
    /// The last wake got it running, but never ready.
    unready: bool,
    /// It was disabled amid this, which may take effect until then.
    unsettled: Option<(Verb, Moment)>,
    dry_run: bool,
}

struct Turn<'a> {
    now: Now,
    settings: &'a Settings,
    orders: Vec<Order>,
}

impl Turn<'_> {
    fn after(&self, wait: Duration) -> Moment {
        self.now.steady + wait
    }
}

impl Machine {
    /// A target that was never heard of before. It starts with a look.
    pub fn new(now: Now, settings: &Settings) -> Self {
        Self::recover(now, State::Created, Vec::new(), settings)
    }

    /// A target whose last journaled state, and the addresses known then, are known. What was begun is
    /// neither taken for done nor begun again before the target was looked at. Every known plane has to be told of as
    /// [`Event::Away`] before anything else, or it counts as none.
    pub fn recover(now: Now, last: State, addresses: Vec<String>, settings: &Settings) -> Self {
        let at = now.steady;
        let settled = at + settings.pace.settle;
        let stage = match last {
            State::Disabled => Stage::Disabled,
            State::Deleted => Stage::Deleted,
            _ if settings.dry_run => Stage::Up { fence_after: at },
            State::Active => Stage::Up { fence_after: at },
            State::Down | State::ScheduledDowntime => Stage::Down,
            State::WarmingUp => Stage::watch(at, at + settings.start_timeout, Then::Again { from: settled }),
            State::CoolingDown => Stage::Stopping {
                until: at + settings.stop_timeout,
                on_running: Then::Fail { from: settled, why: "the stop did not happen".to_owned() },
            },
            State::Created | State::Enabled | State::Errored => {
                Stage::Observing { until: at + settings.start_timeout }
            }
        };
        let mut machine = Self {
            state: last,
            stage,
            phase: Phase::Unspecified,
            // Above every generation of the run before, as long as the wall clock was not set back; a
            // plane compares them only within one link.
            generation: u64::try_from(now.wall.as_millisecond()).unwrap_or_default(),
            planes: Planes::default(),
            call: None,
            next_id: 1,
            poll_at: at,
            doubt: None,
            misses: 0,
            last_seen: None,
            addresses,
            wanted: None,
            needed: Needed::Not,
            desired: Desired::Nothing,
            heed: true,
            up_since: at,
            keep_until: at + settings.min_online,
            keep: Duration::ZERO,
            failures: VecDeque::new(),
            error: None,
            unready: false,
            unsettled: None,
            dry_run: settings.dry_run,
        };
        machine.phase = machine.phase_now();
        machine
    }

    /// Takes one event. The orders are to be carried out one after the other.
    pub fn step(&mut self, now: Now, event: Event, settings: &Settings) -> Vec<Order> {
        let mut turn = Turn { now, settings, orders: Vec::new() };
        let shown = self.shown_addresses().to_vec();
        self.take_up(&mut turn);
        if self.call.as_ref().is_some_and(|call| call.until <= now.steady) {
            self.answered(&mut turn, Outcome::Lost);
        }
        if let Err(refusal) = self.hear(&mut turn, event) {
            turn.orders.push(Order::Refuse(refusal));
        }
        // Every pass moves on by one stage, and none leads back within the same instant.
        loop {
            let before = self.stage.clone();
            self.advance(&mut turn);
            if self.stage == before {
                break;
            }
        }
        let phase = self.phase_now();
        if phase != self.phase {
            self.phase = phase;
            self.generation += 1;
            turn.orders.push(Order::Tell);
        } else if self.shown_addresses() != shown {
            turn.orders.push(Order::Tell);
        }
        turn.orders
    }

    fn hear(&mut self, turn: &mut Turn<'_>, event: Event) -> Result<(), Refusal> {
        match event {
            Event::Tick => {}
            Event::Attached(plane) => self.planes.attach(plane),
            Event::Away(plane) => self.planes.away(plane),
            Event::Forgotten(plane) => self.planes.forget(&plane),
            Event::Activity(plane, report) => self.planes.report(&plane, turn.now.steady, report),
            Event::Fenced(plane, generation, report) => self.planes.fenced(&plane, generation, report),
            Event::Wake(who) => self.somebody_came(turn, &who),
            Event::Answer(id, outcome) => {
                if self.call.as_ref().is_some_and(|call| call.id == id) {
                    self.answered(turn, outcome);
                }
            }
            Event::Ready(number) => self.ready(turn, number),
            Event::DependenciesReady => self.dependencies_ready(turn),
            Event::DependenciesFailed(why) => self.dependencies_failed(turn, why),
            Event::Needed(needed) => self.is_needed(turn, needed),
            Event::Schedule(desired) => self.scheduled(turn, desired),
            Event::Warmup { keep, over_schedule } => return self.warmup(turn, keep, over_schedule),
            Event::Cooldown { force } => return self.cooldown(turn, force),
            Event::Disable => self.disable(turn),
            Event::Enable => self.enable(turn),
            Event::Delete => self.delete(turn),
            Event::Reconcile => self.poll_at = turn.now.steady,
        }
        Ok(())
    }

    fn advance(&mut self, turn: &mut Turn<'_>) {
        match self.stage {
            Stage::Observing { .. } => self.observe(turn),
            Stage::Down => self.lie_down(turn),
            Stage::Starting { .. } => self.come_up(turn),
            Stage::Up { .. } => self.stay_up(turn),
            Stage::Fencing { .. } => self.close_fence(turn),
            Stage::Stopping { .. } => self.go_down(turn),
            Stage::Errored { retry } => {
                if turn.now.steady >= retry {
                    self.look_again(turn);
                }
            }
            Stage::Disabled | Stage::Deleted => {}
        }
    }

    /// When [`Event::Tick`] is due, unless something else happens before.
    pub fn next_deadline(&self, now: Moment, settings: &Settings) -> Option<Moment> {
        let (stage, polls) = match &self.stage {
            Stage::Observing { until } | Stage::Stopping { until, .. } => (Some(*until), true),
            Stage::Starting { until, step, .. } => {
                (Some(*until), matches!(step, Step::Watch { .. } | Step::Probe(_)))
            }
            Stage::Down => (None, true),
            Stage::Up { .. } => (self.kept_up_by(now, settings).and_then(|keep| keep.until()), true),
            Stage::Fencing { need, .. } if need.force && self.call.is_some() => (None, false),
            Stage::Fencing { until, .. } => (Some(*until), false),
            Stage::Errored { retry } => (Some(*retry), false),
            Stage::Disabled | Stage::Deleted => (None, false),
        };
        let call = self.call.as_ref().map(|call| call.until);
        let poll = (polls && call.is_none()).then_some(self.poll_at);
        [stage, poll, call].into_iter().flatten().min()
    }

    /// The documented state.
    pub fn state(&self) -> State {
        self.state
    }

    /// What went wrong last, until a wake succeeds.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Since when it is up, when it is.
    pub fn up_since(&self) -> Option<Moment> {
        matches!(self.stage, Stage::Up { .. }).then_some(self.up_since)
    }

    /// Where the target is, as its provider said last.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    fn change(&mut self, turn: &mut Turn<'_>, to: State, why: Why) {
        if self.state != to {
            let change = Change { at: turn.now.wall, from: self.state, to, why, dry_run: self.dry_run };
            self.state = to;
            turn.orders.push(Order::Journal(change));
        }
    }

    fn enter(&mut self, turn: &Turn<'_>, stage: Stage) {
        self.stage = stage;
        self.doubt = None;
        self.misses = 0;
        self.poll_at = turn.now.steady;
    }

    fn order(&mut self, turn: &mut Turn<'_>, verb: Verb, within: Duration) {
        let id = CallId(self.next_id);
        self.next_id += 1;
        self.call = Some(Call { id, verb, until: turn.after(within) });
        turn.orders.push(Order::Call { id, verb, within });
    }

    /// Asks for the status, when it is time and nothing else is being asked.
    fn look(&mut self, turn: &mut Turn<'_>) {
        if self.call.is_none() && turn.now.steady >= self.poll_at {
            self.order(turn, Verb::Status, turn.settings.pace.status_timeout);
        }
    }

    fn scheduled_down(&self) -> bool {
        self.heed && matches!(self.desired, Desired::Down { .. })
    }
}

#[cfg(test)]
mod tests;
