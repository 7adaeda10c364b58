//! Pure. What a machine is told, and what it orders.

use std::{sync::Arc, time::Duration};

use super::state::Change;
use crate::idle::Report;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// [`Machine::next_deadline`](super::Machine::next_deadline) passed. Too early, too late or too often is harmless.
    Tick,
    /// A plane attached; tell it the state.
    Attached(Arc<str>),
    /// A plane that attached once, also before a restart, is not attached.
    Away(Arc<str>),
    /// A plane is gone for good, by a person's word.
    Forgotten(Arc<str>),
    /// A plane reported; `None` when it did not name this target.
    Activity(Arc<str>, Option<Report>),
    /// A plane answered a fence.
    Fenced(Arc<str>, u64, Report),
    /// Somebody who may wake it came, described in a few words.
    Wake(Arc<str>),
    /// A call ended. Answers to any other than the call in flight are ignored.
    Answer(CallId, Outcome),
    /// The target's own probe succeeded: what waits can be carried. The number is that of the probe.
    Ready(u64),
    /// Everything it depends on is up, and their delays are over.
    DependenciesReady,
    /// Something that it depends on will not come up.
    DependenciesFailed(String),
    /// What the rules that depend on this one need of it.
    Needed(Needed),
    /// What the schedule wants from now on.
    Schedule(Desired),
    /// By hand: up, and not down again for at least `keep`; with `over_schedule` also while the
    /// schedule wants it down, until the schedule changes.
    Warmup {
        /// How long it stays up at least.
        keep: Duration,
        /// Whether a scheduled downtime is ignored.
        over_schedule: bool,
    },
    /// By hand: down. Without `force` it is refused while the target is in use.
    Cooldown {
        /// Stop it although it is in use. Arrivals are fenced off, but what is open is cut.
        force: bool,
    },
    /// Leave it alone from now on.
    Disable,
    /// Mind it again.
    Enable,
    /// The rule is gone.
    Delete,
    /// Look at the target now and not at the next interval.
    Reconcile,
}

/// What a schedule wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Desired {
    /// Nothing: idleness decides.
    #[default]
    Nothing,
    /// Up, whether it is used or not.
    Up,
    /// Down, as soon as nobody uses it; nobody new is let in.
    Down {
        /// Down now, and what is open is cut.
        force: bool,
    },
}

/// What other rules need of a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Needed {
    /// Nothing: all of them are down.
    #[default]
    Not,
    /// It must not be stopped, since one of them may be running.
    Kept,
    /// It has to be up.
    Up,
}

/// Names a call. Never used twice by one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// What a provider is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// Start the target.
    Start,
    /// Stop the target.
    Stop,
    /// Say how the target is, and where.
    Status,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A start or a stop was accepted, or is done.
    Accepted,
    /// The answer to a status call: how it is, and its addresses (empty: as before).
    Seen(Status, Vec<String>),
    /// Refused, because the target is still changing.
    Changing,
    /// Refused or failed, in words for a person. It may have taken effect nevertheless.
    Failed(String),
    /// Nobody knows. It may take effect until the end of the call's time.
    Lost,
}

/// How a target is, by its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// Stopped.
    Stopped,
    /// On its way up.
    Starting,
    /// Running.
    Running,
    /// On its way down.
    Stopping,
}

/// What the machine wants done. Orders are carried out one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Make this durable before doing what comes after it. A control plane that cannot has to end: it
    /// looks at everything again when it is back.
    Journal(Change),
    /// Ask the provider, and bring the answer. After `within` the call is dead: end it, so that it can
    /// have no effect any more, and answer [`Outcome::Lost`].
    Call {
        /// Repeated by the answer.
        id: CallId,
        /// What to ask for.
        verb: Verb,
        /// How long it may take.
        within: Duration,
    },
    /// Tell every plane [`Machine::target_state`](super::Machine::target_state).
    Tell,
    /// Have everything that it depends on brought up.
    WakeDependencies,
    /// Try the health check at short intervals until it succeeds, then bring [`Event::Ready`] with this
    /// number. A later probe replaces it; it ends when [`Machine::probing`](super::Machine::probing) does.
    Probe(u64),
    /// The request by hand is refused.
    Refuse(Refusal),
}

/// Why a request by hand is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Somebody uses it, or nobody can say.
    #[error("it is in use")]
    InUse,
    /// A rule that depends on it is not down.
    #[error("another rule depends on it and is not down")]
    Needed,
    /// It is on its way up.
    #[error("it is on its way up")]
    Changing,
    /// It is disabled.
    #[error("the rule is disabled")]
    Disabled,
    /// The schedule wants it down.
    #[error("its schedule keeps it down")]
    Scheduled,
}
