//! The small corpus of the fuzzers, replayed.

#[test]
fn what_is_read_stands_its_corpus() {
    common::attack::replay(env!("CARGO_MANIFEST_DIR"), "relay", agent_relay::attack::relay);
}
