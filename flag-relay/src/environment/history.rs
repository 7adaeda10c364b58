//! Pure. The versions that SDKs were told.
//!
//! SDKs ignore a flag or a group whose version is not greater than that of what they have. Whoever edits a file
//! may forget the version, and may bring back what was deleted: so a new content always gets a greater version.

use std::collections::BTreeMap;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::change::{Change, Domain, Event};
use crate::shape::{FeatureConfig, Segment};

/// What was told last of one flag or group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Its version.
    pub version: u64,
    /// What stands for its content; 0 when it is gone.
    pub content: u64,
}

/// What was told last of every flag and group that there ever was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    flags: BTreeMap<Box<str>, Stamp>,
    groups: BTreeMap<Box<str>, Stamp>,
}

impl History {
    /// What follows when these are told: gives each its version, and returns the new history.
    pub(super) fn advance(&self, flags: &mut [FeatureConfig], segments: &mut [Segment], now_s: u64) -> Self {
        let mut next = Self { flags: gone(&self.flags), groups: gone(&self.groups) };
        for flag in flags {
            let declared = std::mem::take(&mut flag.version);
            let stamp = stamp(self.flags.get(flag.feature.as_str()), declared, content(flag), now_s);
            flag.version = stamp.version;
            next.flags.insert(flag.feature.as_str().into(), stamp);
        }
        for segment in segments {
            let declared = std::mem::take(&mut segment.version);
            let stamp =
                stamp(self.groups.get(segment.identifier.as_str()), declared, content(segment), now_s);
            segment.version = stamp.version;
            next.groups.insert(segment.identifier.as_str().into(), stamp);
        }
        next
    }

    /// What changed since `before`; groups come first, because flags ask them.
    pub fn changes_since(&self, before: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (domain, before, now) in
            [(Domain::Group, &before.groups, &self.groups), (Domain::Flag, &before.flags, &self.flags)]
        {
            for (identifier, stamp) in now {
                let old = before.get(identifier).filter(|old| old.content != 0);
                let event = match old {
                    Some(old) if old.content == stamp.content => continue,
                    Some(_) if stamp.content == 0 => Event::Delete,
                    Some(_) => Event::Patch,
                    None if stamp.content == 0 => continue,
                    None => Event::Create,
                };
                changes.push(Change {
                    domain,
                    event,
                    identifier: identifier.clone(),
                    version: stamp.version,
                });
            }
        }
        changes
    }

    /// What stands for the content of everything that is there.
    pub(super) fn revision(&self) -> u64 {
        let mut bytes = Vec::new();
        for (name, stamp) in self.flags.iter().chain(&self.groups).filter(|(_, stamp)| stamp.content != 0) {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(&stamp.content.to_le_bytes());
        }
        sum(&bytes)
    }
}

fn gone(stamps: &BTreeMap<Box<str>, Stamp>) -> BTreeMap<Box<str>, Stamp> {
    stamps.iter().map(|(name, stamp)| (name.clone(), Stamp { content: 0, ..*stamp })).collect()
}

fn stamp(before: Option<&Stamp>, declared: u64, content: u64, now_s: u64) -> Stamp {
    let version = match before {
        Some(before) if before.content == content => before.version,
        Some(before) if declared > before.version => declared,
        // The time as well: whoever is killed before the last version is kept must not give it again to another content.
        Some(before) => before.version.saturating_add(1).max(now_s),
        None if declared > 0 => declared,
        None => now_s.max(1),
    };
    Stamp { version, content }
}

/// Never 0; the version has been taken out.
fn content(told: &impl Serialize) -> u64 {
    sum(&serde_json::to_vec(told).unwrap_or_default())
}

fn sum(bytes: &[u8]) -> u64 {
    let digest = digest(&SHA256, bytes);
    digest.as_ref().first_chunk().map_or(1, |first| u64::from_le_bytes(*first)).max(1)
}
