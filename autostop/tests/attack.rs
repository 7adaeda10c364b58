//! The small corpus of the fuzzers, replayed.

use std::fs;
use std::path::Path;

use autostop::attack;

fn check(target: &str, attack: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().collect();
    assert!(!files.is_empty(), "no corpus of {target}");
    for file in files {
        attack(&fs::read(file.path()).unwrap_or_default());
    }
}

#[test]
fn parsers_stand_their_corpora() {
    check("journal_groups", attack::journal);
    check("proxied", attack::proxied);
    check("postgres", attack::postgres);
    check("rule", attack::rule);
}
