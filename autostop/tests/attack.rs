//! The small corpus of the fuzzers, replayed.

use autostop::attack;

fn check(target: &str, attack: fn(&[u8])) {
    common::attack::replay(env!("CARGO_MANIFEST_DIR"), target, attack);
}

#[test]
fn parsers_stand_their_corpora() {
    check("journal_groups", attack::journal);
    check("proxied", attack::proxied);
    check("postgres", attack::postgres);
    check("rule", attack::rule);
    check("plugin", attack::plugin);
    check("given", attack::given);
}
