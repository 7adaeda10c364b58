//! What there is besides the machines: clients, one plane, a provider, and what may go wrong.

use std::{sync::Arc, time::Duration};

use autostop::{
    idle::{Moment, Report},
    machine::{
        CallId, Event, Machine, Now, OnExternalChange, Order, Outcome, Pace, Settings, State, Status, Verb,
    },
    wire::Phase,
};
use jiff::Timestamp;

pub(crate) const TICK: Duration = Duration::from_secs(1);
pub(crate) const NOW: Moment = Duration::from_secs(1_000);
pub(crate) const LONG_AGO: Moment = Duration::from_secs(996);
/// More makes no difference.
pub(crate) const MOST_IDLE: u64 = 3;
pub(crate) const GENERATION: u64 = 100;

/// Copies of the control plane that break a law.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Nothing,
    /// Takes the answer to a fence for a yes.
    NoRecheck,
    /// Takes a plane that is away for one that is idle, and its silence for an answer.
    SilenceIsIdle,
    /// Is down after a restart, whatever it began before.
    ForgetsStarts,
    /// Does not wait for the end of a call.
    GivesUpCalls,
    /// Drops who comes during a stop.
    LosesWakes,
}

/// The worlds that are explored.
pub(crate) struct Worlds {
    pub(crate) broken: Broken,
    pub(crate) settings: Vec<Settings>,
    /// Which target each client wants.
    pub(crate) wants: Vec<usize>,
    pub(crate) crashes: u8,
    pub(crate) faults: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) targets: Vec<Target>,
    pub(crate) clients: Vec<Client>,
    pub(crate) attached: bool,
    pub(crate) away: u8,
    pub(crate) crashes: u8,
    pub(crate) faults: u8,
    pub(crate) cut: bool,
    pub(crate) two_calls: bool,
    pub(crate) unsettled: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) machine: Machine,
    pub(crate) durable: State,
    /// Orders that follow a record; the end may come before they are carried out.
    pub(crate) todo: Vec<Order>,
    pub(crate) waits: bool,
    pub(crate) real: Status,
    pub(crate) call: Option<Flight>,
    /// What may take effect without a call in flight, for so many ticks.
    pub(crate) lingers: Option<(Verb, u8)>,
    pub(crate) to_plane: Vec<(Phase, u64, bool)>,
    pub(crate) to_control: Vec<Event>,
    pub(crate) phase: Phase,
    pub(crate) somewhere: bool,
    /// Ticks since it was last in use.
    pub(crate) idle: u64,
    /// For how many ticks somebody has been parked.
    pub(crate) waits_for: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Flight {
    pub(crate) id: CallId,
    pub(crate) verb: Verb,
    pub(crate) left: u8,
    pub(crate) done: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Client {
    Away,
    Parked,
    Open,
    Gone,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Arrive(usize),
    Leave(usize),
    /// What follows a record is carried out.
    Proceed(usize),
    ToPlane(usize),
    ToControl(usize),
    Effect(usize),
    Answer(usize, Outcome),
    Ready(usize),
    SomebodyElse(usize),
    Detach,
    Attach,
    Crash,
    /// Time passes; with a fault, although something is due.
    Tick,
}

pub(crate) fn plane() -> Arc<str> {
    "plane".into()
}

pub(crate) fn clock() -> Now {
    // A machine begins with the wall clock's milliseconds as its generation.
    let wall = Timestamp::UNIX_EPOCH + Duration::from_millis(GENERATION);
    Now { steady: NOW, wall, luck: 1.0 }
}

fn settings(depends: bool) -> Settings {
    Settings {
        idle_time: 2 * TICK,
        min_online: TICK,
        start_timeout: 3 * TICK,
        stop_timeout: 3 * TICK,
        depends_timeout: depends.then_some(10 * TICK),
        dry_run: false,
        on_external_change: OnExternalChange::Adopt,
        stop_under_keepalives: false,
        pace: Pace {
            poll: TICK,
            reconcile: 2 * TICK,
            status_timeout: TICK,
            fence: TICK,
            settle: 2 * TICK,
            stale: 2 * TICK,
            backoff_first: TICK,
            backoff_most: TICK,
            budget: 3,
            budget_window: 4 * TICK,
        },
    }
}

impl Worlds {
    pub(crate) fn one(broken: Broken) -> Self {
        Self { broken, settings: vec![settings(false)], wants: vec![0, 0, 0], crashes: 1, faults: 1 }
    }

    pub(crate) fn two(broken: Broken) -> Self {
        let settings = vec![settings(false), settings(true)];
        Self { broken, settings, wants: vec![0, 1, 1], crashes: 1, faults: 0 }
    }

    pub(crate) fn begin(&self) -> World {
        let targets = self.settings.iter().map(|settings| {
            let machine = Machine::recover(clock(), State::Down, vec!["a".to_owned()], settings);
            Target {
                machine,
                durable: State::Down,
                todo: Vec::new(),
                waits: false,
                real: Status::Stopped,
                call: None,
                lingers: None,
                to_plane: Vec::new(),
                to_control: Vec::new(),
                phase: Phase::Unspecified,
                somewhere: false,
                idle: MOST_IDLE,
                waits_for: 0,
            }
        });
        World {
            targets: targets.collect(),
            clients: vec![Client::Away; self.wants.len()],
            attached: false,
            away: 0,
            crashes: self.crashes,
            faults: self.faults,
            cut: false,
            two_calls: false,
            unsettled: false,
        }
    }
}

impl World {
    pub(crate) fn of<'a>(&'a self, worlds: &'a Worlds, target: usize) -> impl Iterator<Item = Client> + 'a {
        let clients = self.clients.iter().zip(&worlds.wants);
        clients.filter(move |(_, wants)| **wants == target).map(|(client, _)| *client)
    }

    pub(crate) fn report(&self, worlds: &Worlds, target: usize) -> Report {
        let count = |wanted: fn(&Client) -> bool| self.of(worlds, target).filter(wanted).count() as u32;
        let open = count(|client| *client == Client::Open);
        let parked = count(|client| *client == Client::Parked);
        let idle = if open + parked > 0 { 0 } else { self.targets[target].idle };
        Report { open_connections: open, open_requests: 0, parked, idle: TICK * idle as u32 }
    }

    pub(crate) fn rested(&self) -> bool {
        let gone = self.clients.iter().all(|client| *client == Client::Gone);
        gone && self
            .targets
            .iter()
            .all(|target| target.durable == State::Down && target.real == Status::Stopped)
    }
}
