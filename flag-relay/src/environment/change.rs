//! Pure. What is told to SDKs when something changed.

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Of which kind it is.
    pub domain: Domain,
    /// What became of it.
    pub event: Event,
    /// Which one.
    pub identifier: Box<str>,
    /// Its version from now on; of what is gone, the last one.
    pub version: u64,
}

/// Of which kind something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Domain {
    /// A group.
    Group,
    /// A flag.
    Flag,
}

impl Domain {
    /// As it stands in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Group => "target-segment",
            Self::Flag => "flag",
        }
    }
}

/// What became of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is new.
    Create,
    /// It is another.
    Patch,
    /// It is gone.
    Delete,
}

impl Event {
    /// As it stands in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}
