//! Pure. The rules of one environment, checked as a whole and made ready to be evaluated often.

mod check;
mod compile;
mod depends;
mod render;

use std::{collections::HashSet, fmt};

use regex::Regex;

pub(crate) use self::compile::compile;
pub use crate::shape::Kind;

/// Something that makes a set of flags and groups unusable, or that somebody should know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where: `flag dark-mode`.
    pub place: String,
    /// What.
    pub text: String,
}

impl Problem {
    pub(crate) fn flag(identifier: &str, text: impl Into<String>) -> Self {
        Self { place: format!("flag {identifier}"), text: text.into() }
    }

    pub(crate) fn group(identifier: &str, text: impl Into<String>) -> Self {
        Self { place: format!("group {identifier}"), text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Flags and groups, each sorted by identifier.
#[derive(Debug, Default)]
pub struct Ruleset {
    pub(crate) flags: Vec<Flag>,
    pub(crate) groups: Vec<Group>,
}

impl Ruleset {
    /// The flag of this identifier.
    pub fn flag(&self, identifier: &str) -> Option<&Flag> {
        self.flags.get(self.flag_at(identifier)?)
    }

    pub(crate) fn flag_at(&self, identifier: &str) -> Option<usize> {
        self.flags.binary_search_by(|flag| flag.identifier.as_ref().cmp(identifier)).ok()
    }

    pub(crate) fn group_at(&self, identifier: &str) -> Option<usize> {
        self.groups.binary_search_by(|group| group.identifier.as_ref().cmp(identifier)).ok()
    }

    /// About how long the values of all flags are, as SDKs are told.
    pub(crate) fn told_bytes(&self) -> usize {
        let longest = |flag: &Flag| flag.variations.iter().map(|told| told.told.len() + 1).max().unwrap_or(0);
        self.flags.iter().map(longest).sum::<usize>() + 2
    }

    /// Every flag, by identifier.
    pub fn flags(&self) -> &[Flag] {
        &self.flags
    }
}

/// A flag. Its variations are named by their places in it.
#[derive(Debug)]
pub struct Flag {
    /// Its identifier.
    pub identifier: Box<str>,
    /// What its values are.
    pub kind: Kind,
    /// Whether it is on.
    pub is_on: bool,
    pub(crate) off: usize,
    pub(crate) variations: Vec<Variation>,
    pub(crate) pinned: Vec<Pinned>,
    /// By ascending priority.
    pub(crate) rules: Vec<Rule>,
    pub(crate) default: Serve,
    pub(crate) prerequisites: Vec<Prerequisite>,
}

impl Flag {
    /// A variation by its place.
    pub fn variation(&self, at: usize) -> Option<&Variation> {
        self.variations.get(at)
    }
}

/// One thing that a flag can be, and how that is told.
#[derive(Debug)]
pub struct Variation {
    /// Its identifier within the flag.
    pub identifier: Box<str>,
    /// Its value as text.
    pub value: Box<str>,
    /// As SDKs are told: `{"flag":…,"identifier":…,"kind":…,"value":…}`.
    pub told: Box<str>,
    /// As OFREP tells it, up to the reason: `{"key":…,"variant":…,"value":…,"reason":`.
    pub typed: Box<str>,
}

#[derive(Debug)]
pub(crate) struct Pinned {
    pub(crate) variation: usize,
    pub(crate) targets: HashSet<Box<str>>,
    pub(crate) groups: Vec<Named>,
}

#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) clauses: Vec<Clause>,
    pub(crate) serve: Serve,
}

#[derive(Debug, Default)]
pub(crate) struct Serve {
    pub(crate) variation: Option<usize>,
    pub(crate) distribution: Option<Distribution>,
}

#[derive(Debug)]
pub(crate) struct Distribution {
    pub(crate) by: Attribute,
    /// Variations with their weights.
    pub(crate) parts: Vec<(usize, u32)>,
}

#[derive(Debug)]
pub(crate) struct Prerequisite {
    pub(crate) flag: Named,
    pub(crate) variations: Vec<Box<str>>,
}

/// Something that is meant by its identifier, and where it is; it may be gone.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) identifier: Box<str>,
    pub(crate) at: Option<usize>,
}

/// A target group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) identifier: Box<str>,
    pub(crate) included: HashSet<Box<str>>,
    pub(crate) excluded: HashSet<Box<str>>,
    /// Of these rules one must hold with all its clauses.
    pub(crate) rules: Vec<Vec<Clause>>,
}

/// A condition on one attribute.
#[derive(Debug)]
pub(crate) struct Clause {
    pub(crate) attribute: Attribute,
    pub(crate) op: Op,
    pub(crate) values: Vec<Box<str>>,
}

impl Clause {
    /// The value that counts for most operators.
    pub(crate) fn first(&self) -> Option<&str> {
        self.values.first().map(AsRef::as_ref)
    }
}

#[derive(Debug)]
pub(crate) enum Op {
    In,
    /// With the value in small letters.
    Equal(Box<str>),
    EqualSensitive,
    Greater,
    StartsWith,
    EndsWith,
    Contains,
    /// `None` when the pattern is none.
    Match(Option<Regex>),
    SegmentMatch(Vec<Named>),
    /// With what the Python SDK takes it for, which reads it without regard to capitals.
    Unknown(Box<str>, Option<Box<Self>>),
}

/// An attribute as rules name it.
#[derive(Debug)]
pub(crate) struct Attribute {
    pub(crate) name: Box<str>,
    pub(crate) source: Source,
}

/// Where an attribute is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Identifier,
    Name,
    Attributes,
}

impl Attribute {
    pub(crate) fn new(name: &str) -> Self {
        let source = if name.eq_ignore_ascii_case("identifier") {
            Source::Identifier
        } else if name.eq_ignore_ascii_case("name") {
            Source::Name
        } else {
            Source::Attributes
        };
        Self { name: name.into(), source }
    }
}
