//! The small corpus of the fuzzers, replayed.

use std::fs;
use std::path::Path;

use forwarder::attack;

fn check(target: &str, attack: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().collect();
    assert!(!files.is_empty(), "no corpus of {target}");
    for file in files {
        attack(&fs::read(file.path()).unwrap_or_default());
    }
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
