//! The machine against a rude provider, a few thousand times.

use std::env;

use autostop::rehearsal::rehearse;

/// How often a long run says how far it is.
const TELL_EVERY: u64 = 10_000;

/// `WAYSIDE_SOAK` says how many lives instead, and `WAYSIDE_SEED` with which the first begins.
#[test]
fn the_laws_hold_in_a_rude_world() {
    let told = |name: &str| env::var(name).ok().map(|told| told.parse::<u64>().expect("a number"));
    let lives = told("WAYSIDE_SOAK").unwrap_or(2_000);
    let first = told("WAYSIDE_SEED").unwrap_or(0);
    assert!(lives > 0, "nothing is rehearsed");
    let mut lived = 0;
    while lived < lives {
        let some = TELL_EVERY.min(lives - lived);
        rehearse(first + lived..first + lived + some);
        lived += some;
        println!("{lived} lives, WAYSIDE_SEED {first} to {}", first + lived - 1);
    }
}
