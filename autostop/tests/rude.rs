//! The machine against a rude provider, a few thousand times; `WAYSIDE_SOAK` says how often instead.

use autostop::rehearsal::rehearse;

#[test]
fn the_laws_hold_in_a_rude_world() {
    let lives = std::env::var("WAYSIDE_SOAK").map_or(2_000, |times| times.parse().expect("a number"));
    rehearse(0..lives);
}
