//! The tables of the file: `[[upstream]]` and `[[route]]`.

use common::config::{Secret, Settings};
use serde::Deserialize;

use crate::{
    route::Rule,
    upstream::{Base, Spec},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpstreamTable {
    name: String,
    url: String,
    #[serde(default = "one")]
    weight: u32,
    health: Option<String>,
    api_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteTable {
    #[serde(default)]
    path: String,
    host: Option<String>,
    #[serde(default)]
    upstreams: Vec<String>,
    live: Option<bool>,
}

fn one() -> u32 {
    1
}

/// Adds the upstreams of the file; returns the rules, and the upstreams for what no rule means.
pub(super) fn read(settings: &mut Settings, upstreams: &mut Vec<Spec>) -> (Vec<Rule>, Vec<usize>) {
    let key = settings.list("api_key").first().map(|key| Secret::from(key.as_str()));
    let mut own = Vec::new();
    for table in tables::<UpstreamTable>(settings, "upstream") {
        match Base::parse(&table.url) {
            Some(base) => upstreams.push(Spec {
                name: table.name,
                base,
                weight: table.weight,
                health: table.health,
                key: {
                    let told = table.api_key.as_deref().map(Secret::from);
                    own.push(told.clone());
                    told.or_else(|| key.clone())
                },
            }),
            None => {
                settings.problem(format!("url of [[upstream]] {:?}: use http:// or https://", table.name));
            }
        }
    }
    if own.iter().flatten().any(|key| !super::is_key(key)) {
        settings.problem("api_key of [[upstream]]: use letters, digits and -_.~ only".to_owned());
    }
    let mut rules = Vec::new();
    for table in tables::<RouteTable>(settings, "route") {
        let mut meant = Vec::new();
        for name in &table.upstreams {
            match upstreams.iter().position(|upstream| upstream.name == *name) {
                Some(index) => meant.push(index),
                None => settings.problem(format!("[[route]] names an upstream {name:?} that is not there")),
            }
        }
        let path = table.path.trim_end_matches('/').to_owned();
        rules.push(Rule { path, host: table.host, upstreams: meant, live: table.live });
    }
    let named = |index: &usize| rules.iter().any(|rule| rule.upstreams.contains(index));
    let mut others: Vec<usize> = (0..upstreams.len()).filter(|index| !named(index)).collect();
    if others.is_empty() {
        others = (0..upstreams.len()).collect();
    }
    for rule in rules.iter_mut().filter(|rule| rule.upstreams.is_empty()) {
        rule.upstreams.clone_from(&others);
    }
    (rules, others)
}

fn tables<T: for<'a> Deserialize<'a>>(settings: &mut Settings, key: &'static str) -> Vec<T> {
    let Some(value) = settings.take(key) else { return Vec::new() };
    value.try_into().unwrap_or_else(|error: toml::de::Error| {
        settings.problem(format!("[[{key}]]: {}", error.message()));
        Vec::new()
    })
}
