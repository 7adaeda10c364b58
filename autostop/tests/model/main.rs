//! The machine itself, explored: every interleaving of clients, a plane, a provider, time and the end of the

#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a small world of its own; a wrong index fails the test"
)]
//! control plane, within the world of `world.rs`.

mod step;
mod world;

use stateright::{Checker, Model, Property};
use world::{Action, Broken, Client, World, Worlds};

/// No client waits for longer, in ticks, whatever happens.
const PATIENCE: u8 = 20;

impl Model for Worlds {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.begin()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.possible(world, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        Some(self.after(world.clone(), action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no stop under a live connection", |_, world: &World| !world.cut),
            Property::always("one call at most", |_, world: &World| !world.two_calls),
            Property::always("no call before the last has settled", |_, world: &World| !world.unsettled),
            Property::always("every waiter is answered in time", |_, world: &World| {
                world.targets.iter().all(|target| target.waits_for <= PATIENCE)
            }),
            Property::sometimes("a waiter is carried after a wake", |_, world: &World| {
                world.clients.contains(&Client::Open)
            }),
            Property::sometimes("what nobody uses is stopped", |_, world: &World| world.rested()),
        ]
    }
}

fn check(worlds: Worlds, broken: Option<&'static str>) {
    let checker = worlds.checker().threads(2);
    match broken {
        None => {
            let checked = checker.spawn_bfs().join();
            checked.assert_properties();
            // Fewer, and the world has become too small to tell anything.
            assert!(checked.unique_state_count() > 100_000);
        }
        Some(law) => {
            let checked =
                checker.finish_when(stateright::HasDiscoveries::AllOf([law].into())).spawn_bfs().join();
            checked.assert_any_discovery(law);
        }
    }
}

#[test]
fn one_target_with_three_clients_keeps_the_laws() {
    check(Worlds::one(Broken::Nothing), None);
}

#[test]
fn two_targets_of_which_one_depends_on_the_other_keep_the_laws() {
    check(Worlds::two(Broken::Nothing), None);
}

#[test]
fn the_checker_finds_what_is_broken_on_purpose() {
    for (broken, law) in [
        (Broken::NoRecheck, "no stop under a live connection"),
        (Broken::SilenceIsIdle, "no stop under a live connection"),
        (Broken::ForgetsStarts, "no call before the last has settled"),
        (Broken::GivesUpCalls, "one call at most"),
        (Broken::LosesWakes, "every waiter is answered in time"),
    ] {
        check(Worlds::one(broken), Some(law));
    }
}
