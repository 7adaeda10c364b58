//! Pure. A list in JSON that is written once, and of which each item can be had by itself without copying.

use std::ops::Range;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::shape::{GroupServingRule, Segment};

/// A list in JSON.
#[derive(Clone, Debug)]
pub struct Listed {
    all: Bytes,
    items: Box<[Range<u32>]>,
}

impl Listed {
    /// Writes these.
    pub fn new<T: Serialize>(items: &[T]) -> Self {
        let mut all = vec![b'['];
        let mut ranges = Vec::with_capacity(items.len());
        for item in items {
            if !ranges.is_empty() {
                all.push(b',');
            }
            let start = all.len();
            // Writing what has texts for keys into memory cannot fail; if it did, the item would be `null`.
            if serde_json::to_writer(&mut all, item).is_err() {
                all.truncate(start);
                all.extend_from_slice(b"null");
            }
            ranges.push(place(start)..place(all.len()));
        }
        all.push(b']');
        all.shrink_to_fit();
        Self { all: all.into(), items: ranges.into() }
    }

    /// The whole list.
    pub fn all(&self) -> Bytes {
        self.all.clone()
    }

    /// The item at this place.
    pub fn item(&self, at: usize) -> Option<Bytes> {
        let range = self.items.get(at)?;
        Some(self.all.slice(range.start as usize..range.end as usize))
    }

    /// What it was made of.
    pub fn parse<T: DeserializeOwned>(&self) -> Vec<T> {
        serde_json::from_slice(&self.all).unwrap_or_default()
    }
}

/// A set of 4 GiB is not taken from anywhere.
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Makes a group one that newer SDKs read: rules of which one must hold become serving rules with one clause each.
pub(super) fn use_serving_rules(segment: &mut Segment) {
    let rules = std::mem::take(&mut segment.rules);
    if segment.serving_rules.is_empty() {
        let made = rules.into_iter().zip(1..).map(|(clause, number)| GroupServingRule {
            rule_id: format!("rule-{number}"),
            priority: number,
            clauses: vec![clause],
        });
        segment.serving_rules = made.collect();
    }
}

/// A group as older SDKs read it. A rule with several clauses cannot be told to them, and is left out: the group
/// becomes smaller, never larger.
pub(super) fn with_rules_only(segment: &Segment) -> Segment {
    let mut made = segment.clone();
    let only = |rule: GroupServingRule| <[_; 1]>::try_from(rule.clauses).ok();
    made.rules = std::mem::take(&mut made.serving_rules).into_iter().filter_map(only).flatten().collect();
    made
}

/// A group as both read it.
pub(super) fn with_both(segment: &Segment) -> Segment {
    Segment { rules: with_rules_only(segment).rules, ..segment.clone() }
}
