//! The small corpus of the fuzzers, replayed.

use std::fs;
use std::path::Path;

use goproxy::attack;

fn check(target: &str, attack: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().collect();
    assert!(!files.is_empty(), "no corpus of {target}");
    for file in files {
        attack(&fs::read(file.path()).unwrap_or_default());
    }
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
