//! Pure. How a call of a provider can fail, and what follows from that.

use std::{fmt, time::Duration};

use super::text;

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}{}", self.colon_said())]
pub struct Error {
    /// What kind of failure it was.
    pub fault: Fault,
    /// What the provider said: one line, bounded, without control characters. May be empty.
    pub said: String,
}

/// The kinds of failure that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Too many calls; nothing was done.
    Throttled {
        /// When to come again, if the provider said so.
        retry_after: Option<Duration>,
    },
    /// The target is still changing, such as one that is told to start while it stops; nothing was done.
    Busy,
    /// There is no room for it now, or no quota.
    NoCapacity,
    /// Not allowed.
    Denied,
    /// No answer in time; what became of the call is not known.
    Timeout,
    /// The target does not exist.
    Gone,
    /// The provider ended or its connection broke during the call; what became of the call is not known.
    Interrupted,
    /// The call never reached the provider; nothing was done.
    Unreachable,
    /// The provider cannot do this at all, such as hibernate; nothing was done.
    Unsupported,
    /// Anything else; see what was said.
    Other,
}

impl Fault {
    /// Whether it is certain that the call had no effect.
    pub fn outcome_is_known(self) -> bool {
        !matches!(self, Self::Timeout | Self::Interrupted | Self::Other)
    }

    /// Whether the same call may succeed later without anybody's doing.
    pub fn may_pass(self) -> bool {
        !matches!(self, Self::Denied | Self::Gone | Self::Unsupported)
    }

    /// Its name in the plug-in protocol and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Throttled { .. } => "throttled",
            Self::Busy => "busy",
            Self::NoCapacity => "no_capacity",
            Self::Denied => "denied",
            Self::Timeout => "timeout",
            Self::Gone => "gone",
            Self::Interrupted => "interrupted",
            Self::Unreachable => "unreachable",
            Self::Unsupported => "unsupported",
            Self::Other => "other",
        }
    }

    /// The fault of that name; what is not known is [`Fault::Other`].
    pub fn named(name: &str, retry_after: Option<Duration>) -> Self {
        match name {
            "throttled" => Self::Throttled { retry_after },
            "busy" => Self::Busy,
            "no_capacity" => Self::NoCapacity,
            "denied" => Self::Denied,
            "timeout" => Self::Timeout,
            "gone" => Self::Gone,
            "interrupted" => Self::Interrupted,
            "unreachable" => Self::Unreachable,
            "unsupported" => Self::Unsupported,
            _ => Self::Other,
        }
    }

    /// With what was said about it.
    pub fn said(self, said: impl AsRef<str>) -> Error {
        Error { fault: self, said: text::clean(said.as_ref()) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Throttled { .. } => "too many calls",
            Self::Busy => "still changing",
            Self::NoCapacity => "no capacity",
            Self::Denied => "not allowed",
            Self::Timeout => "no answer in time, the outcome is unknown",
            Self::Gone => "does not exist",
            Self::Interrupted => "cut off, the outcome is unknown",
            Self::Unreachable => "the provider cannot be reached",
            Self::Unsupported => "the provider cannot do that",
            Self::Other => "the call failed",
        })
    }
}

impl Error {
    fn colon_said(&self) -> String {
        if self.said.is_empty() { String::new() } else { format!(": {}", self.said) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Fault; 10] = [
        Fault::Throttled { retry_after: None },
        Fault::Busy,
        Fault::NoCapacity,
        Fault::Denied,
        Fault::Timeout,
        Fault::Gone,
        Fault::Interrupted,
        Fault::Unreachable,
        Fault::Unsupported,
        Fault::Other,
    ];

    #[test]
    fn every_fault_is_found_by_its_name() {
        for fault in ALL {
            assert_eq!(Fault::named(fault.name(), None), fault);
        }
        assert_eq!(Fault::named("surprise", None), Fault::Other);
    }

    #[test]
    fn what_was_said_follows_what_it_means() {
        let error = Fault::NoCapacity.said("InsufficientInstanceCapacity\r\n in eu-west-1a");
        assert_eq!(error.to_string(), "no capacity: InsufficientInstanceCapacity in eu-west-1a");
        assert_eq!(Fault::Busy.said("").to_string(), "still changing");
    }
}
