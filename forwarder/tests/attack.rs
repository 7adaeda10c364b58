//! The small corpus of the fuzzers, replayed.

use forwarder::attack;

fn check(target: &str, attack: fn(&[u8])) {
    common::attack::replay(env!("CARGO_MANIFEST_DIR"), target, attack);
}

#[test]
fn the_log_stands_its_corpus() {
    check("wal", attack::wal);
}

#[test]
fn the_checkpoint_stands_its_corpus() {
    check("checkpoint", attack::checkpoint);
}

#[test]
fn what_is_asked_stands_its_corpus() {
    check("asked", attack::asked);
}

#[test]
fn codings_stand_their_corpus() {
    check("coded", attack::coded);
}
