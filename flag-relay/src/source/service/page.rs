//! Pure. The configuration of a proxy key, which comes in pages.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    secret::KeyHash,
    shape::{self, FeatureConfig, Segment, or_default},
};

/// One page; what must be there and is not makes it none.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    #[serde(default)]
    item_count: Option<usize>,
    #[serde(default)]
    page_count: Option<usize>,
    #[serde(deserialize_with = "or_default")]
    environments: Vec<Part>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    id: String,
    #[serde(deserialize_with = "or_default")]
    api_keys: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    feature_configs: Vec<FeatureConfig>,
    #[serde(deserialize_with = "or_default")]
    segments: Vec<Segment>,
}

/// The pages that were read so far.
#[derive(Debug, Default)]
pub(super) struct Pages {
    environments: BTreeMap<String, shape::Environment>,
    read: usize,
    promised: usize,
}

impl Pages {
    /// Takes the next page; whether it was the last.
    ///
    /// # Errors
    /// When it has what cannot be.
    pub(super) fn take(&mut self, page: Page) -> Result<bool, String> {
        self.read += 1;
        self.promised = self.promised.max(page.item_count.unwrap_or_default());
        let is_empty = page.environments.is_empty();
        for part in page.environments {
            let keys =
                part.api_keys.iter().map(|key| KeyHash::parse(key.strip_prefix("auth-key-").unwrap_or(key)));
            let keys: Option<Vec<_>> = keys.collect();
            let told = shape::Environment {
                keys: keys.ok_or_else(|| format!("environment {} has an SDK key that is none", part.id))?,
                flags: part.feature_configs,
                segments: part.segments,
                id: part.id,
                ..shape::Environment::default()
            };
            self.environments.insert(told.id.clone(), told);
        }
        Ok(is_empty || self.read >= page.page_count.unwrap_or_default())
    }

    /// How many were read.
    pub(super) fn read(&self) -> usize {
        self.read
    }

    /// All environments.
    ///
    /// # Errors
    /// When fewer came than were promised: what is missing is not gone.
    pub(super) fn done(self) -> Result<Vec<shape::Environment>, String> {
        if self.environments.len() < self.promised {
            return Err(format!("{} environments came of {}", self.environments.len(), self.promised));
        }
        Ok(self.environments.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn environment(id: &str) -> Value {
        json!({ "id": id, "apiKeys": [KeyHash::of(id).to_string()], "featureConfigs": null, "segments": [] })
    }

    fn page(count: usize, ids: &[&str]) -> Page {
        let environments: Vec<Value> = ids.iter().map(|id| environment(id)).collect();
        serde_json::from_value(json!({ "itemCount": count, "pageCount": 2, "environments": environments }))
            .unwrap()
    }

    #[test]
    fn pages_are_one_set() {
        let mut pages = Pages::default();
        assert_eq!(pages.take(page(3, &["a", "b"])), Ok(false));
        assert_eq!(pages.take(page(3, &["c"])), Ok(true));
        assert_eq!(pages.done().unwrap().len(), 3);
    }

    #[test]
    fn half_of_it_is_nothing() {
        let mut pages = Pages::default();
        pages.take(page(3, &["a", "b"])).unwrap();
        assert_eq!(pages.take(page(3, &[])), Ok(true));
        assert!(pages.done().is_err());
        for member in ["id", "apiKeys", "featureConfigs", "segments"] {
            let mut told = environment("a");
            told.as_object_mut().unwrap().remove(member);
            let told = json!({ "environments": [told] });
            assert!(serde_json::from_value::<Page>(told).is_err(), "{member}");
        }
        assert!(serde_json::from_value::<Page>(json!({ "itemCount": 0 })).is_err());
        let mut told = environment("a");
        told["apiKeys"] = json!(["in clear"]);
        let told = serde_json::from_value(json!({ "environments": [told] })).unwrap();
        let why = Pages::default().take(told).unwrap_err();
        assert!(!why.contains("in clear"), "{why}");
    }
}
