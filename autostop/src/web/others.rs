//! Pure. Other proxies that this is the shared control plane of, as the pages show them: what they said last.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    figures::{When, when},
    look::{self, Look},
    shown,
};
use crate::{
    control::fleet::{Fleet, Heard},
    rule::{Rule, Shelf},
};

/// How many rules, and how many data planes, of one proxy are shown.
const MOST: usize = 500;

/// One proxy.
pub(super) struct Other {
    pub(super) name: String,
    /// When it was heard of last; never since this process started, if there is nothing.
    pub(super) heard: Option<When>,
    pub(super) version: String,
    pub(super) rules: Vec<Minded>,
    /// How many more there are than are shown.
    pub(super) more: usize,
    pub(super) planes: Vec<Carrier>,
}

/// One of its rules.
pub(super) struct Minded {
    pub(super) name: String,
    pub(super) look: Look,
    pub(super) why: String,
    /// Why it stays up; empty when it does not.
    pub(super) awake: String,
    pub(super) error: String,
    pub(super) open: u64,
    pub(super) parked: u64,
}

/// One of its data planes.
pub(super) struct Carrier {
    pub(super) name: String,
    pub(super) attached: bool,
    pub(super) version: String,
    /// Ports on which it cannot listen, and why.
    pub(super) deaf: Vec<(u64, String)>,
}

/// All that rules name, in the order of their names.
pub(super) fn all(shelf: &Shelf, fleet: &Fleet, now: Timestamp) -> Vec<Other> {
    shelf.proxies().map(|proxy| one(shelf, proxy, fleet.last(proxy), now)).collect()
}

fn one(shelf: &Shelf, proxy: &str, heard: Option<Heard>, now: Timestamp) -> Other {
    let rules: Vec<_> = shelf.others().filter(|(of, _)| *of == proxy).map(|(_, rule)| rule).collect();
    let minded = rules.iter().take(MOST).map(|rule| minded(rule, heard.as_ref()));
    Other {
        name: shown(proxy),
        rules: minded.collect(),
        more: rules.len().saturating_sub(MOST),
        version: heard.as_ref().map(|heard| shown(&heard.version)).unwrap_or_default(),
        planes: heard.iter().flat_map(|heard| &heard.planes).take(MOST).map(carrier).collect(),
        heard: heard.map(|heard| when(heard.at, now)),
    }
}

fn minded(rule: &Rule, heard: Option<&Heard>) -> Minded {
    let told = heard.and_then(|heard| heard.rules.get(&rule.id)).unwrap_or(&Value::Null);
    Minded {
        name: shown(&rule.name),
        look: look::of(told.get("state").and_then(Value::as_str).unwrap_or_default()),
        // That what was begun is done says nothing beside the state.
        why: Some(text(told, "why")).filter(|why| why != "done").unwrap_or_default(),
        awake: text(told, "kept_awake_by"),
        error: text(told, "error"),
        open: number(told, "open"),
        parked: number(told, "parked"),
    }
}

fn carrier(told: &Value) -> Carrier {
    let deaf = told.get("deaf").and_then(Value::as_array).into_iter().flatten().take(MOST);
    Carrier {
        name: text(told, "name"),
        attached: told.get("attached").and_then(Value::as_bool).unwrap_or_default(),
        version: text(told, "version"),
        deaf: deaf.map(|deaf| (number(deaf, "port"), text(deaf, "error"))).collect(),
    }
}

fn text(told: &Value, key: &str) -> String {
    told.get(key).and_then(Value::as_str).map(shown).unwrap_or_default()
}

fn number(told: &Value, key: &str) -> u64 {
    told.get(key).and_then(Value::as_u64).unwrap_or_default()
}
