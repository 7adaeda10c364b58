//! Updates, what they change, and what is told of it.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::{
    environment::Event,
    example::{environment, flag, group, serving},
};

fn told(applied: &Applied) -> Vec<(String, String, Event)> {
    let changes =
        applied.changes.iter().flat_map(|(id, changes)| changes.iter().map(move |change| (id, change)));
    changes.map(|(id, change)| (id.to_string(), change.identifier.to_string(), change.event)).collect()
}

fn apply(world: &mut World, updates: Vec<Update>) -> Applied {
    let (next, applied) = world.next(updates, 1);
    *world = next;
    applied
}

#[test]
fn a_change_is_told_once_and_only_if_it_is_one() {
    let mut world = World::default();
    let first = apply(&mut world, vec![Update::Environment(environment("e", vec![serving("f", "true")]))]);
    assert!(told(&first).is_empty() && first.touched.len() == 1, "nobody has heard of it yet");
    let again = apply(&mut world, vec![Update::Environment(environment("e", vec![serving("f", "true")]))]);
    assert!(told(&again).is_empty() && again.touched.is_empty());
    let changed = apply(
        &mut world,
        vec![Update::Flags("e".to_owned(), vec![serving("f", "false"), serving("g", "true")])],
    );
    assert_eq!(
        told(&changed),
        [("e".to_owned(), "f".to_owned(), Event::Patch), ("e".to_owned(), "g".to_owned(), Event::Create)]
    );
    let gone = apply(&mut world, vec![Update::RemoveFlag("e".to_owned(), "f".to_owned())]);
    assert_eq!(told(&gone), [("e".to_owned(), "f".to_owned(), Event::Delete)]);
    assert!(told(&apply(&mut world, vec![Update::RemoveFlag("e".to_owned(), "f".to_owned())])).is_empty());
    let groups = apply(&mut world, vec![Update::Groups("e".to_owned(), vec![group("g", json!({}))])]);
    assert_eq!(told(&groups), [("e".to_owned(), "g".to_owned(), Event::Create)]);
    let there_and_back = vec![
        Update::Flags("e".to_owned(), vec![serving("g", "false")]),
        Update::Flags("e".to_owned(), vec![serving("g", "true")]),
    ];
    assert_eq!(told(&apply(&mut world, there_and_back)).len(), 0, "in the end it is what it was");
}

#[test]
fn what_is_malformed_is_refused_whole() {
    let mut world = World::default();
    apply(&mut world, vec![Update::Environment(environment("e", vec![serving("f", "true")]))]);
    let bad = vec![serving("f", "false"), flag("g", json!({ "offVariation": "x" }))];
    let applied = apply(&mut world, vec![Update::Flags("e".to_owned(), bad)]);
    assert_eq!(applied.refused.len(), 1);
    assert!(told(&applied).is_empty() && applied.touched.is_empty());
    let kept = world.environments["e"].as_told();
    assert_eq!(kept.flags.len(), 1);
    assert_eq!(kept.flags[0].default_serve.variation.as_deref(), Some("true"));
}

#[test]
fn keys_open_one_environment_and_go_with_it() {
    let mut world = World::default();
    let (key, other) = (KeyHash::of("one-key"), KeyHash::of("two-key"));
    apply(
        &mut world,
        vec![
            Update::Environment(environment("one", Vec::new())),
            Update::Environment(environment("two", Vec::new())),
        ],
    );
    assert_eq!(&*world.opened_by(&key).unwrap().id, "one");
    let stolen = apply(&mut world, vec![Update::AddKey("one".to_owned(), other)]);
    assert_eq!(stolen.refused[0].environment, "one");
    assert_eq!(&*world.opened_by(&other).unwrap().id, "two");
    let added = apply(&mut world, vec![Update::AddKey("one".to_owned(), KeyHash::of("new"))]);
    assert!(added.keys_changed.is_empty(), "nobody has to look for a key that is new");
    let removed = apply(&mut world, vec![Update::RemoveKey("one".to_owned(), key)]);
    assert_eq!(removed.keys_changed, BTreeSet::from([Arc::from("one")]));
    assert!(world.opened_by(&key).is_none());
    assert!(world.opened_by(&KeyHash::of("new")).is_some());
    let rest = apply(&mut world, vec![Update::Only(BTreeSet::from(["two".to_owned()]))]);
    assert_eq!(rest.keys_changed, BTreeSet::from([Arc::from("one")]));
    assert!(world.opened_by(&KeyHash::of("new")).is_none() && world.environments.len() == 1);
    let moved = apply(
        &mut world,
        vec![
            Update::Remove("two".to_owned()),
            Update::Environment(shape::Environment { keys: vec![other], ..environment("one", Vec::new()) }),
        ],
    );
    assert!(moved.refused.is_empty());
    assert_eq!(&*world.opened_by(&other).unwrap().id, "one");
}

#[test]
fn an_environment_that_comes_back_goes_on_with_its_versions() {
    let mut world = World::default();
    let with = |variation| Update::Environment(environment("e", vec![serving("f", variation)]));
    apply(&mut world, vec![with("true")]);
    apply(&mut world, vec![with("false")]);
    apply(&mut world, vec![Update::Remove("e".to_owned())]);
    let back = apply(&mut world, vec![with("true")]);
    assert_eq!(world.environments["e"].as_told().flags[0].version, 3);
    assert_eq!(told(&back), [("e".to_owned(), "f".to_owned(), Event::Patch)]);
}

#[test]
fn what_was_kept_is_followed_by_what_changed_meanwhile() {
    let mut before = World::default();
    apply(&mut before, vec![Update::Environment(environment("e", vec![serving("f", "true")]))]);
    let kept = &before.environments["e"];
    let mut world = World::default();
    let update = Update::Kept(kept.as_told(), kept.history.clone());
    assert!(told(&apply(&mut world, vec![update])).is_empty());
    let now = apply(&mut world, vec![Update::Environment(environment("e", vec![serving("f", "false")]))]);
    assert_eq!(told(&now), [("e".to_owned(), "f".to_owned(), Event::Patch)]);
    assert_eq!(world.environments["e"].as_told().flags[0].version, 2);
}

#[test]
fn a_key_moves_whichever_environment_is_told_first() {
    let with = |id: &str, keys: &[&str]| {
        let keys = keys.iter().map(|key| KeyHash::of(key)).collect();
        Update::Environment(shape::Environment { keys, ..environment(id, vec![serving("f", "true")]) })
    };
    for is_turned in [false, true] {
        let mut world = World::default();
        apply(&mut world, vec![with("a", &["k"]), with("b", &[])]);
        let mut updates = vec![with("a", &[]), with("b", &["k"])];
        if is_turned {
            updates.reverse();
        }
        assert!(apply(&mut world, updates).refused.is_empty());
        assert_eq!(
            world.opened_by(&KeyHash::of("k")).map(|found| found.id.to_string()),
            Some("b".to_owned())
        );
        let refused = apply(&mut world, vec![with("a", &["k"])]).refused;
        assert_eq!(refused.len(), 1, "a key opens one environment");
    }
}
