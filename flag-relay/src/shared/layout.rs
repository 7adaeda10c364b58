//! Pure. What stands in Redis: the documented keys and streams, and beside them, under a name of our own, what makes
//! them safe.
//!
//! The documented keys are written one by one, and anybody may write them. So there is an index with the sums of what
//! belongs together, which only the primary with the lease can write: a replica takes nothing that has other sums.

use std::collections::BTreeMap;

use bytes::Bytes;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    environment::{self, Change, Environment},
    secret::KeyHash,
    shape::{self, FeatureConfig, Segment},
    source::standing::StreamState,
};

/// Changes, as SDKs are told them.
pub(super) const EVENTS: &str = "proxy:sse_events";
/// Whether the primary hears of changes; for replicas of the documented relay.
pub(super) const CONTROL: &str = "proxy:primary_to_replica_control_events";
/// What SDKs of replicas evaluated.
pub(super) const METRICS: &str = "stream:sdk_metrics";
/// Whether the primary hears of changes.
pub(super) const HEALTH: &str = "ffproxy_saas_stream_health";
/// The one field of entries in all three.
pub(super) const FIELD: &str = "event";
/// How many events are kept, as the documented relay does.
pub(super) const MOST_EVENTS: usize = 1000;

/// Who writes. These four are in one slot of a cluster, so that one script sees them all.
pub(super) const LEASE: &str = "wayside:{flags}:lease";
/// The number of the last lease.
pub(super) const FENCE: &str = "wayside:{flags}:fence";
/// By environment: the mark of the last write, and the sums.
pub(super) const INDEX: &str = "wayside:{flags}:index";
/// The mark of the last write of all.
pub(super) const HEAD: &str = "wayside:{flags}:head";

/// Finds every environment where there is no index.
pub(super) const KEYS_PATTERN: &str = "env-*-api-configs";

pub(super) fn flags_key(id: &str) -> String {
    format!("env-{id}-feature-configs")
}

pub(super) fn groups_key(id: &str) -> String {
    format!("env-{id}-segments")
}

pub(super) fn keys_key(id: &str) -> String {
    format!("env-{id}-api-configs")
}

/// The assets of a proxy key, of which only the hash is told.
pub(super) fn inventory_key(proxy_key: &str) -> String {
    format!("key-{}-inventory", KeyHash::of(proxy_key))
}

/// The environment of one of the keys that [`KEYS_PATTERN`] finds.
pub(super) fn id_of(key: &str) -> Option<&str> {
    key.strip_prefix("env-")?.strip_suffix("-api-configs").filter(|id| !id.is_empty())
}

/// A write, by the number of its lease and its number under it; later ones are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Mark(pub(crate) u64, pub(crate) u64);

impl Mark {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (fence, number) = text.split_once('-')?;
        Some(Self(fence.parse().ok()?, number.parse().ok()?))
    }

    pub(super) fn text(self) -> String {
        format!("{}-{}", self.0, self.1)
    }
}

/// The last write of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Head {
    pub(super) mark: Mark,
    /// Whether everything was written under this lease: what is not in the index is gone.
    pub(super) is_whole: bool,
}

impl Head {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (mark, is_whole) = text.strip_suffix(" whole").map_or((text, false), |mark| (mark, true));
        Some(Self { mark: Mark::parse(mark)?, is_whole })
    }

    pub(super) fn text(self) -> String {
        let end = if self.is_whole { " whole" } else { "" };
        format!("{}{end}", self.mark.text())
    }
}

/// An environment in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) mark: Mark,
    pub(super) flags: String,
    pub(super) groups: String,
    pub(super) keys: String,
    pub(super) name: String,
}

impl Entry {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, ' ');
        let mark = Mark::parse(parts.next()?)?;
        let mut part = || parts.next().map(str::to_owned);
        Some(Self { mark, flags: part()?, groups: part()?, keys: part()?, name: part()? })
    }

    pub(super) fn text(&self) -> String {
        let Self { mark, flags, groups, keys, name } = self;
        format!("{} {flags} {groups} {keys} {name}", mark.text())
    }
}

/// An environment as it is written.
#[derive(Debug)]
pub(super) struct Written {
    /// Every key with its value.
    pub(super) documents: BTreeMap<String, Bytes>,
    pub(super) entry: Entry,
}

impl Written {
    pub(super) fn new(environment: &Environment, mark: Mark) -> Self {
        let id = &environment.id;
        let mut documents = BTreeMap::new();
        let flags = environment.flags.all();
        for flag in environment.rules.flags() {
            if let Some(told) = environment.told_flag(&flag.identifier) {
                documents.insert(format!("env-{id}-feature-config-{}", flag.identifier), told);
            }
        }
        let groups = environment.both_groups();
        for (at, group) in environment.rules.groups.iter().enumerate() {
            if let Some(told) = groups.item(at) {
                documents.insert(format!("env-{id}-segment-{}", group.identifier), told);
            }
        }
        let names: Vec<String> = environment.keys.iter().map(|key| format!("auth-key-{key}")).collect();
        for name in &names {
            documents.insert(name.clone(), text(&json!(&**id)));
        }
        let (groups, keys) = (groups.all(), text(&json!(names)));
        let entry = Entry {
            mark,
            flags: short(&flags),
            groups: short(&groups),
            keys: short(&keys),
            name: environment.name.to_string(),
        };
        documents.insert(format!("{}-latest", flags_key(id)), text(&json!(sum(&flags))));
        documents.insert(format!("{}-latest", groups_key(id)), text(&json!(sum(&groups))));
        documents.insert(flags_key(id), flags);
        documents.insert(groups_key(id), groups);
        documents.insert(keys_key(id), keys);
        Self { documents, entry }
    }
}

fn text(value: &serde_json::Value) -> Bytes {
    value.to_string().into()
}

fn sum(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Enough to tell two writes apart.
fn short(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// The three lists of an environment, as they were read.
#[derive(Debug, Default)]
pub(super) struct Lists {
    pub(super) flags: Option<Vec<u8>>,
    pub(super) groups: Option<Vec<u8>>,
    pub(super) keys: Option<Vec<u8>>,
}

/// Why an environment was not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// It is being written, or was written by somebody without the lease.
    #[error("it is not what the index says")]
    Torn,
    /// It is no JSON, or none of ours.
    #[error("{0} cannot be understood")]
    Unreadable(&'static str),
}

impl Lists {
    /// The environment; `entry` is what the index says of it, where there is one.
    pub(super) fn read(&self, id: &str, entry: Option<&Entry>) -> Result<shape::Environment, Unfit> {
        let Self { flags: Some(flags), groups, keys: Some(keys) } = self else { return Err(Unfit::Torn) };
        // The documented relay writes no groups where there are none.
        let groups = match (groups, entry) {
            (Some(groups), _) => groups.as_slice(),
            (None, None) => b"[]",
            (None, Some(_)) => return Err(Unfit::Torn),
        };
        if let Some(entry) = entry
            && (short(flags) != entry.flags || short(groups) != entry.groups || short(keys) != entry.keys)
        {
            return Err(Unfit::Torn);
        }
        let told: Vec<String> = list(keys, "the list of SDK keys")?;
        let keys: Option<Vec<_>> =
            told.iter().map(|key| KeyHash::parse(key.strip_prefix("auth-key-").unwrap_or(key))).collect();
        Ok(shape::Environment {
            id: id.to_owned(),
            name: entry.map(|entry| entry.name.clone()).unwrap_or_default(),
            keys: keys.ok_or(Unfit::Unreadable("the list of SDK keys"))?,
            flags: list::<FeatureConfig>(flags, "the list of flags")?,
            segments: list::<Segment>(groups, "the list of groups")?,
            targets: Vec::new(),
        })
    }
}

fn list<T: serde::de::DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<Vec<T>, Unfit> {
    let told: Result<Option<Vec<T>>, _> = serde_json::from_slice(bytes);
    told.map(Option::unwrap_or_default).map_err(|_| Unfit::Unreadable(what))
}

/// An event, with its members in the documented order.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    event: &'a str,
    domain: &'a str,
    identifier: &'a str,
    version: u64,
    environment: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    environments: &'a [&'a str],
    api_key: String,
}

impl Message<'_> {
    fn text(&self) -> String {
        // Writing what has texts for keys into memory cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What is told on the stream of events when an environment becomes another, or comes.
pub(super) fn events(old: Option<&Environment>, new: &Environment) -> Vec<String> {
    let environment = &*new.id;
    let Some(old) = old else { return vec![account("environmentsAdded", environment)] };
    let mut told = Vec::new();
    for change in new.history.changes_since(&old.history) {
        let Change { domain, event, identifier, version } = &change;
        let (event, domain) = (event.as_str(), domain.as_str());
        let message =
            Message { event, domain, identifier, version: *version, environment, ..Message::default() };
        told.push(message.text());
    }
    for (event, keys) in [("apiKeyAdded", &new.keys - &old.keys), ("apiKeyRemoved", &old.keys - &new.keys)] {
        for key in keys {
            let api_key = key.to_string();
            told.push(Message { event, domain: "proxy", environment, api_key, ..Message::default() }.text());
        }
    }
    told
}

/// What is told when an environment comes or goes.
pub(super) fn account(event: &str, id: &str) -> String {
    Message { event, domain: "proxy", environment: id, environments: &[id], ..Message::default() }.text()
}

/// Tells replicas of the documented relay how the flag service is.
pub(super) fn action(state: StreamState) -> String {
    json!({ "event": "stream_action", "domain": state }).to_string()
}

/// Which environments an event is about; none when nobody can say.
pub(super) fn named(event: &[u8]) -> Vec<String> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Named {
        #[serde(deserialize_with = "shape::or_default")]
        environment: String,
        #[serde(deserialize_with = "shape::or_default")]
        environments: Vec<String>,
    }
    let Named { environment, mut environments } = serde_json::from_slice(event).unwrap_or_default();
    environments.push(environment);
    environments.retain(|id| !id.is_empty());
    environments
}

/// An environment out of what was read, to compare with.
pub(super) fn built(told: shape::Environment) -> Option<Environment> {
    Environment::build(told, &environment::History::default(), 1).ok()
}

#[cfg(test)]
mod tests;
