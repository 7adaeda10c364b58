//! The machine against a rude provider, a few thousand times.

use autostop::rehearsal::rehearse;

#[test]
fn the_laws_hold_in_a_rude_world() {
    rehearse(0..2_000);
}
