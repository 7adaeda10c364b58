//! Pure. Where a machine stands, more finely than the documented states tell.

use std::time::Duration;

use super::{
    event::{CallId, Verb},
    state::Why,
};
use crate::idle::Moment;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// Nothing is certain: look first.
    Observing {
        until: Moment,
    },
    Down,
    Starting {
        asked: Moment,
        until: Moment,
        step: Step,
    },
    Up {
        /// No fence before this.
        fence_after: Moment,
    },
    /// The planes park what arrives; no stop was called yet.
    Fencing {
        until: Moment,
        need: Need,
    },
    /// A stop was called.
    Stopping {
        until: Moment,
        on_running: Then,
    },
    Errored {
        retry: Moment,
    },
    Disabled,
    Deleted,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Depends,
    /// As soon as nothing else is in flight.
    Call,
    /// A start was called.
    Watch {
        on_stopped: Then,
    },
    Probe(u64),
}

/// What to do when the target is seen as if nothing had been called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Then {
    /// It takes its time.
    Wait,
    /// The call was refused, or perhaps never made: call again from this moment on.
    Again { from: Moment },
    /// The call failed: believe it from this moment on.
    Fail { from: Moment, why: String },
}

/// What a stop needs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Need {
    /// Every plane has been idle for this long.
    pub(super) idle: Duration,
    /// Stop it although it is in use.
    pub(super) force: bool,
    pub(super) why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) verb: Verb,
    pub(super) until: Moment,
}

impl Stage {
    pub(super) fn watch(asked: Moment, until: Moment, on_stopped: Then) -> Self {
        Self::Starting { asked, until, step: Step::Watch { on_stopped } }
    }
}
