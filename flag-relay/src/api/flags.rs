//! Flags and groups for SDKs that evaluate by themselves.

use http::StatusCode;

use super::Answer;
use crate::environment::Environment;

pub(super) fn flag(environment: &Environment, identifier: &str) -> Answer {
    environment.told_flag(identifier).map_or_else(missing, Answer::json)
}

pub(super) fn groups(environment: &Environment, query: &str) -> Answer {
    let listed = if is_new(query) { &environment.groups } else { &environment.older_groups };
    Answer::json(listed.all())
}

pub(super) fn group(environment: &Environment, identifier: &str, query: &str) -> Answer {
    environment.told_group(identifier, is_new(query)).map_or_else(missing, Answer::json)
}

fn missing() -> Answer {
    Answer::error(StatusCode::NOT_FOUND, "not found")
}

/// Whether the SDK reads `servingRules`. Some SDKs part their queries with `;`.
fn is_new(query: &str) -> bool {
    query.split(['&', ';']).any(|part| part == "rules=v2")
}
