//! Pure. The documented states of a target, and the record of a change from one to another.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::Needed;

/// What the API says of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Known, and never looked at.
    Created,
    /// Enabled again, and not looked at since.
    Enabled,
    /// On its way up: its dependencies are, it is, or it is not ready yet.
    #[serde(rename = "warmingup")]
    WarmingUp,
    /// Up, and carrying.
    Active,
    /// A stop was called.
    #[serde(rename = "coolingdown")]
    CoolingDown,
    /// Down, and woken by the next who comes.
    Down,
    /// Down, and not to be woken before the schedule says so.
    ScheduledDowntime,
    /// The last wake failed, or nobody can say how the target is.
    Errored,
    /// Left alone: neither started nor stopped.
    Disabled,
    /// The rule is gone.
    Deleted,
}

impl State {
    /// What it needs of the rules that it depends on.
    pub fn needs(self) -> Needed {
        match self {
            Self::WarmingUp | Self::Active => Needed::Up,
            Self::Created | Self::Enabled | Self::CoolingDown | Self::Errored => Needed::Kept,
            Self::Down | Self::ScheduledDowntime | Self::Disabled | Self::Deleted => Needed::Not,
        }
    }
}

/// Why a state changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "detail")]
pub enum Why {
    /// Somebody came, described in a few words.
    Traffic(String),
    /// Nobody used it for the idle time.
    Idle,
    /// The schedule says so.
    Schedule,
    /// A rule that depends on this one is waking.
    Dependant,
    /// Somebody asked by hand.
    Hand,
    /// It was found so: started or stopped by somebody else, or before this run of the control plane.
    Found,
    /// What was begun is done.
    Done,
    /// It went wrong, in words for a person.
    Failed(String),
}

impl Why {
    /// The reason without its details.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Traffic(_) => "traffic",
            Self::Idle => "idle",
            Self::Schedule => "schedule",
            Self::Dependant => "dependant",
            Self::Hand => "hand",
            Self::Found => "found",
            Self::Done => "done",
            Self::Failed(_) => "failed",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Traffic(who) => write!(f, "traffic from {who}"),
            Self::Idle => f.write_str("idle"),
            Self::Schedule => f.write_str("schedule"),
            Self::Dependant => f.write_str("needed by another rule"),
            Self::Hand => f.write_str("asked by hand"),
            Self::Found => f.write_str("found so"),
            Self::Done => f.write_str("done"),
            Self::Failed(what) => f.write_str(what),
        }
    }
}

/// One change of state, for the journal and the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Change {
    /// When, by the wall clock.
    pub at: Timestamp,
    /// What it was.
    pub from: State,
    /// What it is.
    pub to: State,
    /// Why.
    pub why: Why,
    /// It only would have been so: the rule is a dry run, and the target was left alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}
