//! What is written is what is read, and nothing else is taken.

use serde_json::Value;

use super::*;
use crate::{environment::History, example};

fn told(variation: &str) -> shape::Environment {
    let mut told = example::environment("e", vec![example::serving("f", variation)]);
    told.name = "prod one".to_owned();
    told.segments = vec![example::group(
        "g",
        json!({ "servingRules": [
            { "ruleId": "r", "priority": 1, "clauses": [example::clause("plan", "equal", &["pro"])] },
            { "ruleId": "s", "priority": 2, "clauses": [
                example::clause("a", "equal", &["1"]), example::clause("b", "equal", &["2"]),
            ] },
        ] }),
    )];
    told
}

fn environment(variation: &str) -> Environment {
    Environment::build(told(variation), &History::default(), 7).unwrap()
}

fn lists(written: &Written) -> Lists {
    let list = |key: String| written.documents.get(&key).map(|told| told.to_vec());
    Lists { flags: list(flags_key("e")), groups: list(groups_key("e")), keys: list(keys_key("e")) }
}

#[test]
fn a_replica_serves_what_was_written_with_its_versions() {
    let environment = environment("true");
    let written = Written::new(&environment, Mark(5, 2));
    let entry = Entry::parse(&written.entry.text()).unwrap();
    assert_eq!(entry, written.entry);
    let read = lists(&written).read("e", Some(&entry)).unwrap();
    let again = Environment::build(read, &History::default(), 9).unwrap();
    assert_eq!((again.flags.all(), again.groups.all()), (environment.flags.all(), environment.groups.all()));
    assert_eq!(
        (&again.keys, &again.name, &again.history),
        (&environment.keys, &environment.name, &environment.history)
    );
}

#[test]
fn documents_have_their_documented_names_and_forms() {
    let written = Written::new(&environment("true"), Mark::default());
    let key = format!("auth-key-{}", KeyHash::of("e-key"));
    let names: Vec<&str> = written.documents.keys().map(String::as_str).collect();
    let mut expected = vec![
        "env-e-api-configs",
        "env-e-feature-config-f",
        "env-e-feature-configs",
        "env-e-feature-configs-latest",
        "env-e-segment-g",
        "env-e-segments",
        "env-e-segments-latest",
    ];
    expected.insert(0, &key);
    assert_eq!(names, expected);
    let read = |name: &str| serde_json::from_slice::<Value>(&written.documents[name]).unwrap();
    assert_eq!(read(&key), "e");
    assert_eq!(read("env-e-feature-configs-latest"), sum(&written.documents["env-e-feature-configs"]));
    let group = read("env-e-segment-g");
    assert_eq!(group["servingRules"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        group["rules"].as_array().map(Vec::len),
        Some(1),
        "older SDKs get what cannot widen the group"
    );
}

#[test]
fn what_does_not_belong_together_is_not_taken() {
    let (one, other) =
        (Written::new(&environment("true"), Mark(1, 1)), Written::new(&environment("false"), Mark(1, 2)));
    assert_eq!(
        lists(&other).read("e", Some(&one.entry)),
        Err(Unfit::Torn),
        "somebody wrote it without the lease"
    );
    let missing = Lists { groups: None, ..lists(&one) };
    assert_eq!(missing.read("e", Some(&one.entry)), Err(Unfit::Torn));
    assert!(missing.read("e", None).is_ok(), "the documented relay writes no groups where there are none");
    let broken = Lists { flags: Some(b"{".to_vec()), ..lists(&one) };
    assert!(matches!(broken.read("e", None), Err(Unfit::Unreadable(_))));
    let in_clear = Lists { keys: Some(br#"["in clear"]"#.to_vec()), ..lists(&one) };
    assert!(matches!(in_clear.read("e", None), Err(Unfit::Unreadable(_))));
    assert_eq!(Lists::default().read("e", None), Err(Unfit::Torn));
}

#[test]
fn marks_and_heads_are_read_as_they_are_written() {
    for head in [Head { mark: Mark(1_795_185_265_651, 12), is_whole: true }, Head::default()] {
        assert_eq!(Head::parse(&head.text()), Some(head));
    }
    for bad in ["", "1", "1-", "-1-1", "1-x whole", "1-1 whol", "99999999999999999999-1"] {
        assert_eq!(Head::parse(bad), None, "{bad}");
    }
    assert_eq!(id_of("env-a-b-api-configs"), Some("a-b"));
    assert_eq!(id_of("env--api-configs"), None);
}

#[test]
fn events_say_what_changed_and_which_environment() {
    let (old, mut new) = (environment("true"), told("false"));
    new.keys = vec![KeyHash::of("other")];
    let new = Environment::build(new, &old.history, 8).unwrap();
    let events = events(Some(&old), &new);
    let version = new.flags.parse::<FeatureConfig>()[0].version;
    let expected = format!(
        r#"{{"event":"patch","domain":"flag","identifier":"f","version":{version},"environment":"e","apiKey":""}}"#
    );
    assert_eq!(events[0], expected);
    let kinds: Vec<Value> =
        events.iter().map(|told| serde_json::from_str::<Value>(told).unwrap()["event"].clone()).collect();
    assert_eq!(kinds, ["patch", "apiKeyAdded", "apiKeyRemoved"]);
    assert_eq!(named(events[0].as_bytes()), ["e"]);
    assert_eq!(named(br#"{"environments":["a","b"]}"#), ["a", "b"]);
    assert_eq!(named(b"{"), Vec::<String>::new());
}
