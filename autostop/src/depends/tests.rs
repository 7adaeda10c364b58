//! Who waits for whom, over graphs drawn at random.

use proptest::prelude::*;

use super::*;

fn id(name: impl ToString) -> RuleId {
    RuleId::of(&name.to_string())
}

fn graph(edges: &[(&str, &str)]) -> Graph {
    Graph::new(edges.iter().map(|(dependant, on)| (id(dependant), id(on))))
}

#[test]
fn who_goes_down_with_a_rule_goes_before_it() {
    let graph = graph(&[("web", "app"), ("app", "db"), ("jobs", "db"), ("web", "cache")]);
    assert_eq!(graph.cycle(), None);
    assert_eq!(graph.goes_down_with(&id("db")), [id("web"), id("app"), id("jobs")]);
    assert_eq!(graph.goes_down_with(&id("web")), []);
}

#[test]
fn a_rule_is_kept_for_the_neediest_that_depends_on_it() {
    let graph = graph(&[("web", "db"), ("jobs", "db")]);
    let needed = |web, jobs| graph.needed(&id("db"), |rule| if *rule == id("web") { web } else { jobs });
    assert_eq!(needed(State::Down, State::Disabled), Needed::Not);
    assert_eq!(needed(State::Down, State::CoolingDown), Needed::Kept);
    assert_eq!(needed(State::Errored, State::WarmingUp), Needed::Up);
    assert_eq!(graph.needed(&id("web"), |_| State::Active), Needed::Not);
}

#[test]
fn dependencies_are_ready_after_their_delays_and_fail_with_the_first() {
    let secs = Duration::from_secs;
    let on = [Dependency { rule: id("db"), delay: secs(30) }, Dependency { rule: id("app"), delay: secs(0) }];
    let check = |db, app, expected| {
        let how = |rule: &RuleId| if *rule == id("db") { db } else { app };
        assert_eq!(readiness(&on, secs(100), how), expected);
    };
    let up = |since| (State::Active, Some(secs(since)));
    let way = (State::WarmingUp, None);
    check(up(70), up(100), Readiness::Ready);
    check(up(71), up(90), Readiness::Wait(Some(secs(101))));
    check(way, up(90), Readiness::Wait(None));
    check((State::CoolingDown, None), up(90), Readiness::Wait(None));
    check(way, (State::Errored, None), Readiness::Failed(id("app")));
    check((State::ScheduledDowntime, None), up(0), Readiness::Failed(id("db")));
}

proptest! {
    #[test]
    fn a_cycle_is_found_exactly_when_there_is_one(edges in proptest::collection::vec((0_u8..7, 0_u8..7), 0..12)) {
        let graph = Graph::new(edges.iter().map(|(dependant, on)| (id(dependant), id(on))));
        match graph.cycle() {
            Some(cycle) => {
                for (at, rule) in cycle.iter().enumerate() {
                    let next = &cycle[(at + 1) % cycle.len()];
                    prop_assert!(graph.dependencies(rule).any(|on| on == next));
                }
            }
            None => {
                // Then rules can be taken away one by one, each when nobody is left that depends on it.
                let mut left: BTreeSet<_> = edges.iter().flat_map(|(a, b)| [id(a), id(b)]).collect();
                while !left.is_empty() {
                    let free = left.iter().find(|rule| !graph.dependants(rule).any(|by| left.contains(by))).cloned();
                    prop_assert!(free.is_some());
                    free.map(|free| left.remove(&free));
                }
            }
        }
    }
}
