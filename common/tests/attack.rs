//! The small corpus of the fuzzers, replayed.

use common::attack;

fn check(target: &str, attack: fn(&[u8])) {
    attack::replay(env!("CARGO_MANIFEST_DIR"), target, attack);
}

#[test]
fn chunked_coding_stands_its_corpus() {
    check("chunked", attack::chunked);
}

#[test]
fn an_exchange_off_the_wire_stands_its_corpus() {
    check("wire_exchange", attack::wire_exchange);
}
