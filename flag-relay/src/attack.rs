//! What the fuzzers call with bytes of their choice; the ordinary tests call it too.

use crate::{
    api::{ofrep_target, read_target},
    environment::Environment,
    evaluate::{Dialect, Evaluation, Subject},
    keep,
    lint::lint,
    shape::Target,
    shared,
    source::{
        layout::{self, Files},
        readable::{self, Format},
        service,
    },
    store::{Update, World},
    token::Tokens,
    usage::Posted,
};

/// What SDKs send: a target, a context, metrics, a token. Whatever the bytes are, nothing panics, and no token is good
/// that was not signed.
pub fn asked(bytes: &[u8]) {
    read_target(bytes);
    ofrep_target(bytes).ok();
    serde_json::from_slice::<Posted>(bytes).ok();
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert_eq!(Tokens::new(b"a secret").read(text, 1), None, "nobody signed it");
    }
}

/// A file of an environment, in any of its forms: what is taken can be evaluated, and is the same when it is read
/// again.
pub fn environment(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        for format in [Format::Yaml, Format::Json] {
            if let Ok(told) = readable::read("e", text, format) {
                stands(Update::Environment(told));
            }
        }
    }
    // The parts of the offline layout, with zeros between.
    let mut parts = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec);
    let files = Files {
        flags: parts.next(),
        groups: parts.next(),
        keys: parts.next().or(Some(b"[]".to_vec())),
        targets: parts.next(),
    };
    if let Ok(told) = layout::read("e", &files) {
        stands(Update::Environment(told));
    }
    if let Ok(update) = keep::parse(bytes) {
        stands(update);
    }
}

/// What Redis says: whatever the bytes are, nothing panics, and what is understood is written as it was read.
pub fn shared(bytes: &[u8]) {
    shared::attack(bytes);
}

/// What the flag service answers and streams: whatever the bytes are, and however they are split, nothing panics, and
/// what they say is the same.
pub fn answered(bytes: &[u8]) {
    service::attack(bytes);
}

fn stands(update: Update) {
    let (world, _) = World::default().next(vec![update], 7);
    for environment in world.environments.values() {
        for target in [Target::default(), Target::named("ann")].iter().chain(environment.targets.values()) {
            let subject = Subject::new(target);
            for dialect in [Dialect::Relay, Dialect::Python] {
                let evaluation = Evaluation::new(&environment.rules, &subject, dialect);
                for flag in environment.rules.flags() {
                    let found = evaluation.decide(flag);
                    assert_eq!(evaluation.explain(flag).0, found, "what is explained is what is decided");
                    let variation = found.map(|found| flag.variation(found.variation).is_some());
                    assert!(variation.unwrap_or(true), "what is decided is there");
                }
            }
        }
        lint(&environment.rules);
        let again = Environment::build(environment.as_told(), &environment.history, 8);
        assert!(
            again
                .is_ok_and(|again| again.history == environment.history
                    && again.flags.all() == environment.flags.all()),
            "what is told again is the same"
        );
        assert!(environment.history.changes_since(&environment.history).is_empty());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_are_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            super::asked(&bytes);
            super::environment(&bytes);
            super::answered(&bytes);
            super::shared(&bytes);
        }

        #[test]
        fn nor_is_a_stream_that_is_nearly_one(
            parts in proptest::collection::vec("(data: ?|event: \\*|:|\r?\n|\n\n|\\{\"event\":\"(patch|delete|apiKeyAdded)\",\"domain\":\"(flag|proxy)\",\"version\":(-1|7|null)\\}|\\[|é)", 0..40)
        ) {
            super::answered(parts.concat().as_bytes());
        }

        #[test]
        fn nor_is_a_file_that_is_nearly_one(
            on in "(true|false|no|1)", default in "(true|false|x|~)", when in "(plan: \\{ equal: pro \\}|a: \\{ match: \\( \\}|\\[)",
            weight in "[0-9]{1,4}", group in "(g|h)"
        ) {
            let text = format!("keys: [k]\nflags:\n  f: {{ on: {on}, default: {default}, rules: [{{ when: {{ {when} }}, split: {{ weights: {{ true: {weight} }} }} }}], groups: {{ true: [{group}] }} }}\ngroups:\n  g: {{ include: [ann], rules: [{{ {when} }}] }}\n");
            super::environment(text.as_bytes());
        }
    }
}
