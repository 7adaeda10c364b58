//! Pure. What other proxies that this is the shared control plane of say of their rules.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{machine::Change, rule::RuleId};

/// What a proxy says: how its rules are, and what became of them since it was last heard of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// Each rule as its own API shows it.
    #[serde(default)]
    pub rules: Vec<Value>,
    /// Its data planes, likewise.
    #[serde(default)]
    pub planes: Vec<Value>,
    /// Changes of state that the shared control plane does not have yet, oldest first.
    #[serde(default)]
    pub changes: BTreeMap<RuleId, Vec<Change>>,
}

/// The answer to a report: the last change of each rule that is kept.
pub type Have = BTreeMap<RuleId, Option<Timestamp>>;

/// What one proxy said last, and when.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// When.
    pub at: Timestamp,
    /// Its version.
    pub version: String,
    /// How its rules are.
    pub rules: BTreeMap<RuleId, Value>,
    /// How its data planes are.
    pub planes: Vec<Value>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Fleet(Mutex<BTreeMap<String, Heard>>);

impl Fleet {
    /// A proxy said this; of rules that are not its own nothing is believed.
    pub fn hear(&self, proxy: &str, at: Timestamp, report: &Report, is_own: impl Fn(&RuleId) -> bool) {
        let id = |rule: &Value| rule.get("name").and_then(Value::as_str).map(RuleId::of);
        let rules = report.rules.iter().filter_map(|rule| Some((id(rule)?, rule.clone())));
        let rules = rules.filter(|(id, _)| is_own(id)).collect();
        let (version, planes) = (report.version.clone(), report.planes.clone());
        self.all().insert(proxy.to_owned(), Heard { at, version, rules, planes });
    }

    /// What a proxy said last.
    pub fn last(&self, proxy: &str) -> Option<Heard> {
        self.all().get(proxy).cloned()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Heard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_speaks_for_its_own_rules_and_the_last_word_counts() {
        let (fleet, own) = (Fleet::default(), RuleId::of("a"));
        assert!(fleet.last("ap-2").is_none());
        for state in ["down", "active"] {
            let rule = |name: &str| serde_json::json!({ "name": name, "state": state });
            let report = Report { rules: vec![rule("a"), rule("b"), Value::Null], ..Report::default() };
            fleet.hear("ap-2", Timestamp::UNIX_EPOCH, &report, |id| *id == own);
        }
        let heard = fleet.last("ap-2").unwrap().rules;
        assert_eq!(heard.len(), 1);
        assert_eq!(heard[&own]["state"], "active");
    }
}
