//! Pure. What a rule says of how its target is started and stopped, and at what pace the machine looks.

use std::time::Duration;

/// How one target is minded. It may differ from step to step: a changed rule is taken up at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Idle for this long, it is stopped.
    pub idle_time: Duration,
    /// After it came up, it stays up for at least this long.
    pub min_online: Duration,
    /// From the call until it has to be ready.
    pub start_timeout: Duration,
    /// From the call until it has to be seen stopped.
    pub stop_timeout: Duration,
    /// How long its dependencies may take; `None` when it has none.
    pub depends_timeout: Option<Duration>,
    /// Never started nor stopped; what would have been is recorded.
    pub dry_run: bool,
    /// What to do when somebody else started or stopped it.
    pub on_external_change: OnExternalChange,
    /// A connection that only keeps itself alive does not count as use, and is cut by the stop.
    pub stop_under_keepalives: bool,
    /// How often it is looked at.
    pub pace: Pace,
}

/// What to do when somebody else started or stopped the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExternalChange {
    /// Take it as it is.
    #[default]
    Adopt,
    /// Put it back.
    Restore,
}

/// Times that are the same for all rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pace {
    /// Between two looks at a target that changes.
    pub poll: Duration,
    /// Between two looks at a target that does not.
    pub reconcile: Duration,
    /// How long a status call may take.
    pub status_timeout: Duration,
    /// How long the planes may take to answer a fence, and how long the next one waits after that.
    pub fence: Duration,
    /// How long a call that failed is given to take effect nevertheless.
    pub settle: Duration,
    /// A report of activity older than this says nothing.
    pub stale: Duration,
    /// The wait after the first failed wake; it doubles.
    pub backoff_first: Duration,
    /// The longest wait after a failed wake.
    pub backoff_most: Duration,
    /// So many wakes may fail within the budget's window; then it is left alone until that has passed.
    pub budget: u32,
    /// The window.
    pub budget_window: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(1),
            reconcile: Duration::from_mins(10),
            status_timeout: Duration::from_secs(30),
            fence: Duration::from_secs(5),
            settle: Duration::from_secs(10),
            stale: Duration::from_secs(15),
            backoff_first: Duration::from_secs(5),
            backoff_most: Duration::from_mins(5),
            budget: 5,
            budget_window: Duration::from_hours(1),
        }
    }
}
