//! The small corpus of the fuzzers, replayed.

#[test]
fn what_is_asked_stands_its_corpus() {
    common::attack::replay(env!("CARGO_MANIFEST_DIR"), "flag_asked", flag_relay::attack::asked);
}

#[test]
fn what_is_read_stands_its_corpus() {
    common::attack::replay(env!("CARGO_MANIFEST_DIR"), "flag_environment", flag_relay::attack::environment);
}

#[test]
fn what_is_answered_stands_its_corpus() {
    common::attack::replay(env!("CARGO_MANIFEST_DIR"), "flag_answered", flag_relay::attack::answered);
}

#[test]
fn what_is_shared_stands_its_corpus() {
    common::attack::replay(env!("CARGO_MANIFEST_DIR"), "flag_shared", flag_relay::attack::shared);
}
