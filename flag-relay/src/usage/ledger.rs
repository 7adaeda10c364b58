//! Pure. Adds up what SDKs post as metrics, by flag, variation and SDK.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Deserialize;
use serde_json::Value;

/// Uses that are told apart.
const MOST_USES: usize = 20_000;
/// Targets that are named for each.
const MOST_TARGETS: usize = 5;
/// The longest name that is kept.
const MOST_BYTES: usize = 128;

/// What an SDK posts.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Posted {
    #[serde(default, deserialize_with = "crate::shape::or_default")]
    metrics_data: Vec<Datum>,
}

impl Posted {
    /// The SDK that posts it, as SDKs call themselves: `Python 1.7.3 Server`.
    pub fn sdk(&self) -> Option<String> {
        let datum = self.metrics_data.first()?;
        let parts = ["SDK_LANGUAGE", "SDK_VERSION", "SDK_TYPE"].map(|key| datum.text(key));
        parts.iter().all(|part| !part.is_empty()).then(|| parts.join(" "))
    }
}

#[derive(Debug, Deserialize)]
struct Datum {
    #[serde(default, deserialize_with = "crate::shape::or_default")]
    count: u64,
    #[serde(default, deserialize_with = "crate::shape::or_default")]
    attributes: Vec<Attribute>,
}

#[derive(Debug, Deserialize)]
struct Attribute {
    #[serde(default, deserialize_with = "crate::shape::or_default")]
    key: String,
    #[serde(default)]
    value: Value,
}

impl Datum {
    fn text(&self, key: &str) -> Box<str> {
        let told = self.attributes.iter().find(|attribute| attribute.key == key);
        let told = told.and_then(|attribute| attribute.value.as_str()).unwrap_or_default();
        let end =
            told.char_indices().map(|(at, _)| at).take_while(|at| *at <= MOST_BYTES).last().unwrap_or(0);
        let cut = if told.len() <= MOST_BYTES { told } else { told.get(..end).unwrap_or_default() };
        cut.into()
    }
}

/// Who asks for what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// The environment.
    pub environment: Arc<str>,
    /// The flag.
    pub flag: Box<str>,
    /// The variation that was served.
    pub variation: Box<str>,
    /// The language of the SDK.
    pub language: Box<str>,
    /// Its version.
    pub version: Box<str>,
    /// `server` or `client`.
    pub kind: Box<str>,
}

/// How often, and when last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Evaluations since the relay started.
    pub evaluations: u64,
    /// When it was posted last, in milliseconds since 1970.
    pub last_ms: u64,
    /// Some of the targets.
    pub targets: BTreeSet<Box<str>>,
}

/// All uses.
#[derive(Debug, Default)]
pub struct Ledger {
    uses: BTreeMap<Use, Count>,
    uncounted: u64,
}

impl Ledger {
    /// Adds what an SDK posted.
    pub fn add(&mut self, environment: &Arc<str>, posted: &Posted, now_ms: u64) {
        for datum in &posted.metrics_data {
            let used = Use {
                environment: Arc::clone(environment),
                flag: datum.text("featureIdentifier"),
                variation: datum.text("variationIdentifier"),
                language: datum.text("SDK_LANGUAGE"),
                version: datum.text("SDK_VERSION"),
                kind: datum.text("SDK_TYPE"),
            };
            if used.flag.is_empty() {
                continue;
            }
            if self.uses.len() >= MOST_USES && !self.uses.contains_key(&used) {
                self.uncounted = self.uncounted.saturating_add(datum.count);
                continue;
            }
            let count = self.uses.entry(used).or_default();
            count.evaluations = count.evaluations.saturating_add(datum.count);
            count.last_ms = count.last_ms.max(now_ms);
            let target = datum.text("target");
            // `global` and `__global__` stand for everybody.
            if !target.is_empty() && !target.contains("global") && count.targets.len() < MOST_TARGETS {
                count.targets.insert(target);
            }
        }
    }

    /// Adds what was taken out before.
    pub(super) fn put_back(&mut self, used: Use, put: &Count) {
        let count = self.uses.entry(used).or_default();
        count.evaluations = count.evaluations.saturating_add(put.evaluations);
        count.last_ms = count.last_ms.max(put.last_ms);
    }

    pub(super) fn all(&self) -> Vec<(Use, Count)> {
        self.uses.iter().map(|(used, count)| (used.clone(), count.clone())).collect()
    }

    pub(super) fn uncounted(&self) -> u64 {
        self.uncounted
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn posted(flag: &str, count: u64, target: Value) -> Posted {
        let pair = |key: &str, value: Value| json!({ "key": key, "value": value });
        let attributes = [
            pair("featureIdentifier", flag.into()),
            pair("variationIdentifier", "true".into()),
            pair("SDK_LANGUAGE", "python".into()),
            pair("SDK_VERSION", "1.7.3".into()),
            pair("SDK_TYPE", "server".into()),
            pair("target", target),
        ];
        let data =
            json!([{ "timestamp": 1, "count": count, "metricsType": "FFMETRICS", "attributes": attributes }]);
        serde_json::from_value(json!({ "metricsData": data, "targetData": null })).unwrap()
    }

    #[test]
    fn what_is_posted_adds_up() {
        let (mut ledger, environment) = (Ledger::default(), Arc::from("e"));
        ledger.add(&environment, &posted("f", 2, "ann".into()), 5);
        ledger.add(&environment, &posted("f", 3, "global".into()), 7);
        ledger.add(&environment, &posted("f", 4, Value::Null), 6);
        let all = ledger.all();
        let (used, count) = all.first().unwrap();
        assert_eq!((all.len(), &*used.flag, &*used.language), (1, "f", "python"));
        assert_eq!((count.evaluations, count.last_ms), (9, 7));
        assert_eq!(count.targets, BTreeSet::from(["ann".into()]));
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let (mut ledger, environment) = (Ledger::default(), Arc::from("e"));
        for number in 0..MOST_USES + 10 {
            ledger.add(&environment, &posted(&format!("f{number}"), 1, format!("t{number}").into()), 1);
        }
        ledger.add(&environment, &posted("f0", u64::MAX, "é".repeat(500).into()), 1);
        assert_eq!((ledger.all().len(), ledger.uncounted()), (MOST_USES, 10));
        assert!(ledger.all().iter().all(|(_, count)| count.targets.iter().all(|target| target.len() <= 128)));
    }
}
