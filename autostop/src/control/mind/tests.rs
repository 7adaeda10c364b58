//! Several rules together, with a provider that does what it is told at once.

use std::time::Duration;

use super::*;
use crate::{
    idle::Report,
    machine::{Outcome, Status, Verb, Why},
    rule::{Surroundings, check, parse},
};

const START: Duration = Duration::from_secs(1_000_000);

/// A world of some rules and one plane, which reports what it is told to.
struct World {
    mind: Mind,
    steady: Duration,
    running: BTreeSet<RuleId>,
    kept: Kept,
    /// Every start and stop, in order.
    calls: Vec<(Verb, String)>,
    /// Whose client keeps it in use.
    used: BTreeSet<RuleId>,
}

fn plane() -> Arc<str> {
    "plane".into()
}

fn rules(files: &[&str]) -> Rules {
    let around = Surroundings { providers: vec!["lab".to_owned()], tcp_ports: 56000..=56999 };
    let files: Vec<_> = files
        .iter()
        .map(|text| {
            let common =
                "provider = \"lab\"\nidle_time = \"60s\"\nmin_online = \"1s\"\nfilter.vm_ids = [\"x\"]\n";
            ("rule".to_owned(), parse("rule", &format!("{common}{text}")).unwrap())
        })
        .collect();
    check(&files, &around).unwrap()
}

impl World {
    fn new(files: &[&str]) -> Self {
        let mut world = Self {
            mind: Mind::new(BTreeSet::new(), Pace::default()),
            steady: START,
            running: BTreeSet::new(),
            kept: Kept::default(),
            calls: Vec::new(),
            used: BTreeSet::new(),
        };
        world.take_up(files);
        let deeds = world.mind.plane(world.now(), &Event::Attached(plane()));
        world.carry_out(deeds);
        world
    }

    fn take_up(&mut self, files: &[&str]) {
        let attached = BTreeSet::from([plane()]);
        let deeds = self.mind.take_up(self.now(), rules(files), &self.kept, &attached);
        self.carry_out(deeds);
    }

    fn now(&self) -> Now {
        let since = i64::try_from((self.steady - START).as_secs()).unwrap();
        // A Friday morning.
        let wall = Timestamp::from_second(1_795_158_000 + since).unwrap();
        Now { steady: self.steady, wall, luck: 0.5 }
    }

    /// What is ordered is done and answered, until nothing is ordered any more.
    fn carry_out(&mut self, deeds: Vec<Deed>) {
        let mut todo = std::collections::VecDeque::from(deeds);
        while let Some((rule, order)) = todo.pop_front() {
            let event = match order {
                Order::Call { id, verb, .. } => {
                    let outcome = match verb {
                        Verb::Start => {
                            self.running.insert(rule.clone());
                            Outcome::Accepted
                        }
                        Verb::Stop => {
                            self.running.remove(&rule);
                            Outcome::Accepted
                        }
                        Verb::Status if self.running.contains(&rule) => {
                            Outcome::Seen(Status::Running, vec!["10.0.0.1".to_owned()])
                        }
                        Verb::Status => Outcome::Seen(Status::Stopped, Vec::new()),
                    };
                    if verb != Verb::Status {
                        self.calls.push((verb, rule.to_string()));
                    }
                    Event::Answer(id, outcome)
                }
                Order::Probe(number) => Event::Ready(number),
                Order::Tell => {
                    let Some((machine, _)) = self.mind.machine(&rule) else { continue };
                    let state = machine.target_state(rule.as_str(), self.steady, None);
                    if state.phase() != crate::wire::Phase::Fenced {
                        continue;
                    }
                    Event::Fenced(plane(), state.generation, self.report(&rule))
                }
                Order::Journal(_) | Order::WakeDependencies | Order::Refuse(_) => continue,
            };
            todo.extend(self.mind.hear(self.now(), &rule, event));
        }
    }

    fn report(&self, rule: &RuleId) -> Report {
        let used = self.used.contains(rule);
        Report {
            open_connections: used.into(),
            idle: if used { Duration::ZERO } else { START },
            ..Report::default()
        }
    }

    fn hear(&mut self, rule: &str, event: Event) {
        let deeds = self.mind.hear(self.now(), &RuleId::of(rule), event);
        self.carry_out(deeds);
    }

    fn wake(&mut self, rule: &str) {
        self.used.insert(RuleId::of(rule));
        self.hear(rule, Event::Wake("a client".into()));
    }

    /// Time passes, second by second, with a report every second.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.steady += Duration::from_secs(1);
            for rule in self.mind.rules().iter().map(|rule| rule.id.clone()).collect::<Vec<_>>() {
                let report = Some(self.report(&rule));
                self.hear(rule.as_str(), Event::Activity(plane(), report));
            }
            let deeds = self.mind.pass(self.now());
            self.carry_out(deeds);
        }
    }

    fn state(&self, rule: &str) -> State {
        self.mind.state(&RuleId::of(rule))
    }

    fn calls(&mut self) -> Vec<(Verb, String)> {
        std::mem::take(&mut self.calls)
    }
}

fn call(verb: Verb, rule: &str) -> (Verb, String) {
    (verb, rule.to_owned())
}

#[test]
fn what_it_depends_on_comes_up_before_it_and_stays_until_after_it() {
    let mut world = World::new(&[
        "name = \"web\"\n[[depends]]\nrule = \"app\"",
        "name = \"app\"\n[[depends]]\nrule = \"db\"\ndelay_in_sec = 5",
        "name = \"db\"",
    ]);
    assert!(["web", "app", "db"].iter().all(|rule| world.state(rule) == State::Down));
    world.wake("web");
    assert_eq!(world.calls(), [call(Verb::Start, "db")]);
    world.pass(4);
    assert_eq!((world.state("db"), world.state("app")), (State::Active, State::WarmingUp));
    world.pass(3);
    assert_eq!(world.calls(), [call(Verb::Start, "app"), call(Verb::Start, "web")]);
    assert_eq!(world.state("web"), State::Active);
    // Nobody uses the database itself, and it stays.
    world.pass(300);
    assert_eq!(world.calls(), []);
    world.used.clear();
    world.pass(300);
    let stops = [call(Verb::Stop, "web"), call(Verb::Stop, "app"), call(Verb::Stop, "db")];
    assert_eq!(world.calls(), stops, "each before what it depends on");
}

#[test]
fn a_schedule_is_asked_when_time_passes() {
    // 2026-11-20T07:00Z, a Friday.
    let mut world = World::new(&[
        "name = \"office\"\n[[schedule]]\nschedule_type = \"uptime\"\ntime_zone = \"UTC\"\ndays = [\"fri\"]\nstart_time = \"07:10\"\nend_time = \"07:20\"",
    ]);
    world.pass(9 * 60);
    assert_eq!(world.state("office"), State::Down);
    world.pass(2 * 60);
    assert_eq!(world.calls(), [call(Verb::Start, "office")]);
    world.pass(8 * 60);
    assert_eq!(world.state("office"), State::Active, "though nobody uses it");
    world.pass(5 * 60);
    assert_eq!(world.calls(), [call(Verb::Stop, "office")]);
}

#[test]
fn a_rule_that_is_gone_is_left_as_it_is_and_one_that_comes_back_remembers() {
    let mut world = World::new(&["name = \"a\"", "name = \"b\""]);
    world.wake("a");
    world.wake("b");
    assert_eq!(world.calls().len(), 2);
    world.take_up(&["name = \"a\""]);
    assert_eq!(world.state("b"), State::Deleted);
    world.used.clear();
    world.pass(120);
    assert_eq!(world.calls(), [call(Verb::Stop, "a")]);
    assert!(world.running.contains(&RuleId::of("b")), "a rule that is gone starts and stops nothing");
    let change = |to| crate::machine::Change {
        at: world.now().wall,
        from: State::Created,
        to,
        why: Why::Idle,
        dry_run: false,
    };
    let changes = vec![change(State::Disabled)];
    world.kept.rules.insert(RuleId::of("b"), super::super::record::Past { changes, addresses: Vec::new() });
    world.take_up(&["name = \"a\"", "name = \"b\""]);
    assert_eq!(world.state("b"), State::Disabled);
}

#[test]
fn a_plane_that_is_away_keeps_every_target_and_one_that_is_forgotten_none() {
    let mut world = World::new(&["name = \"a\""]);
    world.wake("a");
    world.used.clear();
    let deeds = world.mind.plane(world.now(), &Event::Attached("other".into()));
    world.carry_out(deeds);
    let deeds = world.mind.plane(world.now(), &Event::Away("other".into()));
    world.carry_out(deeds);
    world.calls();
    world.pass(600);
    assert_eq!(world.calls(), []);
    let deeds = world.mind.plane(world.now(), &Event::Forgotten("other".into()));
    world.carry_out(deeds);
    world.pass(120);
    assert_eq!(world.calls(), [call(Verb::Stop, "a")]);
}

#[test]
fn without_a_delay_a_chain_comes_up_without_waiting_for_the_clock() {
    let mut world = World::new(&["name = \"web\"\n[[depends]]\nrule = \"db\"", "name = \"db\""]);
    world.wake("web");
    assert_eq!(world.calls(), [call(Verb::Start, "db"), call(Verb::Start, "web")]);
    assert_eq!(world.state("web"), State::Active);
}

#[test]
fn a_rule_that_gets_a_schedule_follows_it_at_once() {
    let mut world = World::new(&["name = \"a\""]);
    let always = "[[schedule]]\nschedule_type = \"uptime\"\ntime_zone = \"UTC\"\nstart_time = \"00:00\"\nend_time = \"23:59\"";
    world.take_up(&[&format!("name = \"a\"\n{always}")]);
    assert_eq!(world.calls(), [call(Verb::Start, "a")]);
}

#[test]
fn a_new_rule_knows_which_planes_are_away() {
    let mut world = World::new(&["name = \"a\""]);
    let deeds = world.mind.plane(world.now(), &Event::Away("other".into()));
    world.carry_out(deeds);
    world.take_up(&["name = \"a\"", "name = \"b\""]);
    world.wake("b");
    world.used.clear();
    world.calls();
    world.pass(600);
    assert_eq!(world.calls(), [], "nobody knows whether it is used there");
}
