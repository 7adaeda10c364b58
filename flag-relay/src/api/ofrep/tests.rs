//! Contexts, errors and tags.

use super::*;
use crate::{
    environment::History,
    example::{environment, serving},
};

#[test]
fn contexts_are_targets_or_say_why_not() {
    let told = target(br#"{"context":{"targetingKey":"ann","name":"Ann","plan":"free"}}"#).unwrap();
    assert_eq!((told.identifier.as_str(), told.name.as_str()), ("ann", "Ann"));
    assert_eq!(told.attributes["plan"], "free");
    for (body, code) in [
        ("{", "PARSE_ERROR"),
        ("", "PARSE_ERROR"),
        ("[]", "INVALID_CONTEXT"),
        (r#"{"context":1}"#, "INVALID_CONTEXT"),
        (r#"{"context":{"targetingKey":1}}"#, "INVALID_CONTEXT"),
        ("{}", "TARGETING_KEY_MISSING"),
        (r#"{"context":null}"#, "TARGETING_KEY_MISSING"),
        (r#"{"context":{"targetingKey":""}}"#, "TARGETING_KEY_MISSING"),
    ] {
        assert_eq!(target(body.as_bytes()).unwrap_err().0, code, "{body}");
    }
}

#[test]
fn a_tag_stands_for_flags_and_context() {
    let build = |variation| {
        Environment::build(environment("e", vec![serving("f", variation)]), &History::default(), 1).unwrap()
    };
    let (before, after) = (build("true"), build("false"));
    let (ann, other) = (Bytes::from_static(b"ann"), Bytes::from_static(b"ann, elsewhere"));
    assert_eq!(tag(&before, &ann), tag(&build("true"), &ann));
    assert_ne!(tag(&before, &ann), tag(&after, &ann), "other flags");
    assert_ne!(tag(&before, &ann), tag(&before, &other), "another attribute");
}
