//! The small corpus of the fuzzers, replayed.

#[test]
fn what_is_asked_stands_its_corpus() {
    common::attack::replay(env!("CARGO_MANIFEST_DIR"), "flag_asked", flag_relay::attack::asked);
}

#[test]
fn what_is_read_stands_its_corpus() {
    common::attack::replay(env!("CARGO_MANIFEST_DIR"), "flag_environment", flag_relay::attack::environment);
}
