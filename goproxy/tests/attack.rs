//! The small corpus of the fuzzers, replayed.

use goproxy::attack;

fn check(target: &str, attack: fn(&[u8])) {
    common::attack::replay(env!("CARGO_MANIFEST_DIR"), target, attack);
}

#[test]
fn http1_stands_its_corpus() {
    check("http1", attack::http1);
}

#[test]
fn sniffing_stands_its_corpus() {
    check("sniff", attack::sniff);
}

#[test]
fn redaction_stands_its_corpus() {
    check("redact", attack::redact);
}
