//! Pure. What relays are told when the book changed: the difference of two books, as events of the account stream.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::book::{Book, Environment};

/// An event of the account stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    pub(super) event: &'static str,
    pub(super) domain: &'static str,
    pub(super) identifier: String,
    pub(super) version: u64,
    pub(super) environment: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) environments: Vec<String>,
    pub(super) api_key: String,
}

/// Whom an event is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// Every key that opens the environment of the event.
    Environment,
    /// This proxy key.
    Key(String),
}

/// Everything that relays are told of the way from one book to the next; groups come before the flags that ask them.
pub(super) fn difference(old: &Book, new: &Book) -> Vec<(To, Event)> {
    let mut events = Vec::new();
    for (id, after) in &new.environments {
        if let Some(before) = old.environments.get(id) {
            within(id, before, after, new.version, &mut events);
        }
    }
    let opened = |book: &Book, key: &str| -> BTreeSet<String> {
        let key = book.proxy_keys.get(key);
        key.into_iter().flat_map(|key| book.opened_by(key)).map(|(id, _)| id.clone()).collect()
    };
    for key in old.proxy_keys.keys() {
        let to = To::Key(key.clone());
        if !new.proxy_keys.contains_key(key) {
            events.push((to, Event { event: "proxyKeyDeleted", domain: "proxy", ..Event::default() }));
            continue;
        }
        let (before, after) = (opened(old, key), opened(new, key));
        for (event, environments) in
            [("environmentsAdded", &after - &before), ("environmentsRemoved", &before - &after)]
        {
            if !environments.is_empty() {
                let environments = environments.into_iter().collect();
                let told = Event { event, domain: "proxy", environments, ..Event::default() };
                events.push((to.clone(), told));
            }
        }
    }
    events
}

fn within(id: &str, before: &Environment, after: &Environment, version: u64, events: &mut Vec<(To, Event)>) {
    let told = |event, domain, identifier: &str, version| {
        let (identifier, environment) = (identifier.to_owned(), id.to_owned());
        (To::Environment, Event { event, domain, identifier, version, environment, ..Event::default() })
    };
    let groups = |told: &Environment| -> BTreeMap<String, u64> {
        told.groups.values().map(|group| (group.identifier.clone(), group.version)).collect()
    };
    let flags = |told: &Environment| -> BTreeMap<String, u64> {
        told.flags.values().map(|flag| (flag.feature.clone(), flag.version)).collect()
    };
    for (domain, before, after) in
        [("target-segment", groups(before), groups(after)), ("flag", flags(before), flags(after))]
    {
        for (name, now) in &after {
            match before.get(name) {
                Some(then) if then == now => {}
                Some(_) => events.push(told("patch", domain, name, *now)),
                None => events.push(told("create", domain, name, *now)),
            }
        }
        for name in before.keys().filter(|name| !after.contains_key(*name)) {
            events.push(told("delete", domain, name, version));
        }
    }
    for (event, keys) in
        [("apiKeyAdded", &after.keys - &before.keys), ("apiKeyRemoved", &before.keys - &after.keys)]
    {
        for api_key in keys {
            let environment = id.to_owned();
            let told = Event { event, domain: "proxy", environment, api_key, ..Event::default() };
            events.push((To::Environment, told));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn book(environments: &serde_json::Value, scope: Option<&str>) -> Book {
        let key = |scope| {
            json!({ "relay": {
                "identifier": "relay", "name": "", "description": "", "createdAt": 0, "updatedAt": 0, "version": 1,
                "organizations": { "o": { "projects": { "p": { "scope": scope } } } }, "hash": "", "older": {},
            } })
        };
        let keys = scope.map_or(json!({}), key);
        let told = json!({
            "version": 9, "environments": environments, "proxy_keys": keys, "deleted_keys": [],
        });
        serde_json::from_value(told).unwrap()
    }

    fn environment(keys: &[&str], flags: &[(&str, u64)]) -> serde_json::Value {
        let flags = flags.iter().map(|(name, version)| {
            let flag = crate::example::flag(name, json!({ "version": version }));
            ((*name).to_owned(), json!(flag))
        });
        let flags: serde_json::Map<_, _> = flags.collect();
        json!({ "org": "o", "project": "p", "identifier": "e", "production": true, "keys": keys, "flags": flags,
            "groups": {} })
    }

    fn told(old: &Book, new: &Book) -> Vec<(&'static str, String, u64)> {
        let told = difference(old, new).into_iter();
        told.map(|(_, event)| {
            (
                event.event,
                format!("{}{}{}", event.identifier, event.api_key, event.environments.join(",")),
                event.version,
            )
        })
        .collect()
    }

    #[test]
    fn what_changed_is_told_and_nothing_else() {
        let old = book(&json!({ "e": environment(&["a"], &[("f", 1), ("g", 2), ("h", 3)]) }), Some("all"));
        let new = book(&json!({ "e": environment(&["b"], &[("f", 1), ("g", 4), ("i", 5)]) }), Some("all"));
        let expected = [
            ("patch", "g", 4),
            ("create", "i", 5),
            ("delete", "h", 9),
            ("apiKeyAdded", "b", 0),
            ("apiKeyRemoved", "a", 0),
        ];
        assert_eq!(
            told(&old, &new),
            expected.map(|(event, name, version)| (event, name.to_owned(), version))
        );
        assert_eq!(told(&new, &new), []);
    }

    #[test]
    fn keys_are_told_what_they_open() {
        let environments = json!({ "e": environment(&[], &[]) });
        let (all, none, gone) = (
            book(&environments, Some("all")),
            book(&environments, Some("non-prod")),
            book(&environments, None),
        );
        assert_eq!(told(&none, &all), [("environmentsAdded", "e".to_owned(), 0)]);
        assert_eq!(told(&all, &none), [("environmentsRemoved", "e".to_owned(), 0)]);
        assert_eq!(told(&all, &gone), [("proxyKeyDeleted", String::new(), 0)]);
        assert_eq!(told(&book(&json!({}), Some("all")), &all), [("environmentsAdded", "e".to_owned(), 0)]);
    }
}
