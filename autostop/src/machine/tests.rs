//! One life after another through one table. The laws under rude interleavings are the business of
//! `tests/rude.rs` and `tests/model`.

use super::*;
use crate::idle::{Doubt, Report};
use State::{Active, CoolingDown, Disabled, Down, Errored, ScheduledDowntime, WarmingUp};
use Verb::{Start, Stop};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn settings() -> Settings {
    Settings {
        idle_time: secs(60),
        min_online: secs(30),
        start_timeout: secs(120),
        stop_timeout: secs(90),
        depends_timeout: None,
        dry_run: false,
        on_external_change: OnExternalChange::Adopt,
        stop_under_keepalives: false,
        pace: Pace::default(),
    }
}

/// A machine, its clock, and what it ordered last.
struct Life {
    machine: Machine,
    settings: Settings,
    now: u64,
    orders: Vec<Order>,
}

impl Life {
    fn new(last: State, settings: Settings) -> Self {
        let machine = Machine::recover(now(1_000), last, vec!["10.0.0.1".to_owned()], &settings);
        let mut life = Self { machine, settings, now: 1_000, orders: Vec::new() };
        life.hear(Event::Attached("plane".into()));
        life
    }

    fn hear(&mut self, event: Event) -> &mut Self {
        let before = self.told();
        self.orders = self.machine.step(now(self.now), event, &self.settings);
        if self.told() != before {
            assert!(self.orders.contains(&Order::Tell), "no plane hears of {:?}", self.told());
        }
        self
    }

    /// What planes act by.
    fn told(&self) -> (i32, Vec<String>) {
        let told = self.machine.target_state("r", secs(self.now), None);
        (told.phase, told.addresses)
    }

    fn wait(&mut self, seconds: u64) -> &mut Self {
        self.now += seconds;
        self.hear(Event::Tick)
    }

    /// Answers the call in flight.
    fn answer(&mut self, outcome: Outcome) -> &mut Self {
        let id = self.machine.call.as_ref().expect("a call is in flight").id;
        self.hear(Event::Answer(id, outcome))
    }

    fn seen(&mut self, status: Status) -> &mut Self {
        self.answer(Outcome::Seen(status, Vec::new()))
    }

    fn report(&mut self, open: u32, idle: u64) -> &mut Self {
        self.hear(Event::Activity("plane".into(), Some(report(open, idle))))
    }

    fn fenced(&mut self, open: u32, idle: u64) -> &mut Self {
        let generation = self.machine.generation;
        self.hear(Event::Fenced("plane".into(), generation, report(open, idle)))
    }

    #[track_caller]
    fn check(&mut self, state: State, phase: Phase, calls: &[Verb]) -> &mut Self {
        let called = self.orders.iter().filter_map(|order| match order {
            Order::Call { verb, .. } => Some(*verb),
            _ => None,
        });
        assert_eq!(called.collect::<Vec<_>>(), calls);
        assert_eq!((self.machine.state, self.machine.phase), (state, phase));
        self
    }

    fn ready(&mut self) -> &mut Self {
        let number = self.machine.probing().expect("it is probed");
        self.hear(Event::Ready(number))
    }

    /// Down and looked at.
    fn asleep(settings: Settings) -> Self {
        let mut life = Self::new(Down, settings);
        life.seen(Status::Stopped);
        life
    }

    /// Up for long, idle for long, and fenced.
    fn fencing() -> Self {
        let mut life = Self::new(Active, settings());
        life.seen(Status::Running).wait(100).report(0, 90);
        assert_eq!(life.machine.phase, Phase::Fenced);
        life
    }

    fn stopping() -> Self {
        let mut life = Self::fencing();
        life.fenced(0, 90).check(CoolingDown, Phase::Asleep, &[Stop]);
        life
    }
}

fn now(seconds: u64) -> Now {
    Now { steady: secs(seconds), wall: Timestamp::UNIX_EPOCH + secs(seconds), luck: 1.0 }
}

fn report(open_connections: u32, idle: u64) -> Report {
    Report { open_connections, idle: secs(idle), ..Report::default() }
}

fn wake() -> Event {
    Event::Wake("10.0.0.7, ssh".into())
}

#[test]
fn a_wake_is_journaled_called_watched_probed_and_done() {
    let mut life = Life::asleep(settings());
    life.hear(wake()).check(WarmingUp, Phase::Waking, &[Start]);
    assert!(matches!(life.orders[0], Order::Journal(Change { from: Down, to: WarmingUp, .. })));
    life.hear(wake()).check(WarmingUp, Phase::Waking, &[]);
    life.answer(Outcome::Accepted).check(WarmingUp, Phase::Waking, &[Verb::Status]);
    life.seen(Status::Starting).wait(1).check(WarmingUp, Phase::Waking, &[Verb::Status]);
    assert_eq!(
        life.machine.target_state("r", secs(1_000), None).addresses,
        [""; 0],
        "the old ones are not told"
    );
    life.answer(Outcome::Seen(Status::Running, vec!["10.0.0.2".to_owned()])).check(
        WarmingUp,
        Phase::Waking,
        &[],
    );
    assert_eq!(life.machine.target_state("r", secs(1_000), None).addresses, ["10.0.0.2"]);
    life.hear(Event::Ready(1)).check(WarmingUp, Phase::Waking, &[]);
    life.ready().check(Active, Phase::Awake, &[]);
}

#[test]
fn planes_are_told_where_to_look_although_it_is_where_it_was() {
    let mut life = Life::asleep(settings());
    life.hear(wake()).answer(Outcome::Accepted).seen(Status::Running);
    assert!(life.orders.contains(&Order::Tell));
    assert_eq!(life.machine.target_state("r", secs(1_000), None).addresses, ["10.0.0.1"]);
}

#[test]
fn an_idle_target_is_fenced_asked_again_and_stopped() {
    let mut life = Life::stopping();
    assert!(matches!(life.orders[0], Order::Journal(Change { to: CoolingDown, why: Why::Idle, .. })));
    life.answer(Outcome::Accepted).seen(Status::Stopping).wait(1);
    life.seen(Status::Stopped).check(CoolingDown, Phase::Asleep, &[Verb::Status]);
    life.seen(Status::Stopped).check(Down, Phase::Asleep, &[]);
}

#[test]
fn whatever_the_fence_finds_breaks_it() {
    let check = |event: fn(&mut Life) -> &mut Life| {
        let mut life = Life::fencing();
        event(&mut life);
        life.check(Active, Phase::Awake, &[]);
        // And what was said before does not start the next one.
        life.wait(1).check(Active, Phase::Awake, &[]);
    };
    check(|life| life.fenced(1, 0));
    check(|life| life.fenced(0, 50));
    check(|life| life.hear(wake()));
    check(|life| life.hear(Event::Away("plane".into())));
    check(|life| life.hear(Event::Needed(Needed::Kept)));
    check(|life| life.hear(Event::Schedule(Desired::Up)));
    check(|life| life.wait(5));
}

#[test]
fn who_comes_during_a_stop_starts_it_when_it_is_seen_stopped() {
    let mut life = Life::stopping();
    life.hear(wake()).check(CoolingDown, Phase::Waking, &[]);
    life.answer(Outcome::Accepted).seen(Status::Stopped).check(CoolingDown, Phase::Waking, &[Verb::Status]);
    life.seen(Status::Stopped).check(WarmingUp, Phase::Waking, &[Start]);
}

#[test]
fn a_stop_that_does_not_happen_ends_with_the_target_up() {
    let mut life = Life::stopping();
    life.answer(Outcome::Failed("no".into())).seen(Status::Running).check(CoolingDown, Phase::Asleep, &[]);
    life.wait(11).seen(Status::Running).check(Active, Phase::Awake, &[]);
    assert_eq!(life.machine.error(), Some("no"));
    let mut life = Life::stopping();
    life.answer(Outcome::Accepted).seen(Status::Running).wait(90).check(Active, Phase::Awake, &[]);
    let mut life = Life::stopping();
    life.answer(Outcome::Changing).seen(Status::Running).check(CoolingDown, Phase::Asleep, &[Stop]);
    life.answer(Outcome::Changing).hear(wake()).seen(Status::Running).check(Active, Phase::Awake, &[]);
}

#[test]
fn no_second_start_before_the_first_is_certain_to_be_over() {
    let mut life = Life::asleep(settings());
    life.hear(wake()).answer(Outcome::Lost).seen(Status::Stopped).check(WarmingUp, Phase::Waking, &[]);
    life.wait(9).seen(Status::Stopped).check(WarmingUp, Phase::Waking, &[]);
    life.wait(1).seen(Status::Stopped).check(Errored, Phase::Failed, &[]);
    let told = life.machine.target_state("r", secs(life.now), None);
    assert_eq!((told.retry_after_ms, told.error.as_str()), (10_000, "the provider did not answer"));
    life.hear(wake()).check(Errored, Phase::Failed, &[]);
    life.wait(10).check(Errored, Phase::Failed, &[Verb::Status]);
    life.seen(Status::Stopped).check(WarmingUp, Phase::Waking, &[Start]);
    life.answer(Outcome::Lost).seen(Status::Starting).wait(1).seen(Status::Running);
    life.ready().check(Active, Phase::Awake, &[]);
}

#[test]
fn a_refused_start_is_called_again_once_it_is_seen_stopped() {
    let mut life = Life::asleep(settings());
    life.hear(wake()).answer(Outcome::Changing).seen(Status::Stopping).check(WarmingUp, Phase::Waking, &[]);
    life.wait(1).seen(Status::Stopped).check(WarmingUp, Phase::Waking, &[Start]);
}

#[test]
fn an_answer_to_an_older_call_is_ignored_and_one_that_never_comes_is_lost() {
    let mut life = Life::asleep(settings());
    life.hear(wake()).hear(Event::Answer(CallId(1), Outcome::Accepted)).check(WarmingUp, Phase::Waking, &[]);
    let old = life.machine.call.clone().unwrap().id;
    life.wait(120).check(Errored, Phase::Failed, &[]);
    life.hear(Event::Answer(old, Outcome::Accepted)).check(Errored, Phase::Failed, &[]);
}

#[test]
fn too_many_failed_wakes_and_it_is_left_alone_until_somebody_asks_by_hand() {
    let fail = |life: &mut Life| {
        life.answer(Outcome::Failed("no capacity".into())).seen(Status::Stopped);
        life.wait(10).seen(Status::Stopped).check(Errored, Phase::Failed, &[]);
    };
    let mut life = Life::asleep(settings());
    life.settings.pace.budget = 2;
    fail(life.hear(wake()));
    fail(life.hear(wake()).wait(10).seen(Status::Stopped));
    assert_eq!(life.machine.next_deadline(secs(life.now), &life.settings), Some(secs(1_010 + 3_600)));
    let mut life = Life::asleep(settings());
    life.settings.pace.budget = 1;
    life.hear(wake())
        .answer(Outcome::Failed("no".into()))
        .seen(Status::Stopped)
        .wait(10)
        .seen(Status::Stopped);
    life.wait(3_000).check(Errored, Phase::Failed, &[]);
    life.hear(Event::Warmup { keep: secs(0), over_schedule: true }).check(
        Errored,
        Phase::Failed,
        &[Verb::Status],
    );
    life.seen(Status::Stopped).check(WarmingUp, Phase::Waking, &[Start]);
}

#[test]
fn in_doubt_it_is_in_use() {
    let stays = |prepare: fn(&mut Life) -> &mut Life, keep: Keep| {
        let mut life = Life::new(Active, settings());
        life.seen(Status::Running).wait(100);
        prepare(&mut life);
        life.check(Active, Phase::Awake, &[]);
        assert_eq!(life.machine.kept_up_by(secs(life.now), &life.settings), Some(keep));
    };
    stays(|life| life, Keep::Unknown(Doubt::Silent("plane".into())));
    stays(|life| life.hear(Event::Away("plane".into())), Keep::Unknown(Doubt::Away("plane".into())));
    stays(|life| life.hear(Event::Forgotten("plane".into())), Keep::Unknown(Doubt::NoPlane));
    stays(|life| life.report(1, 90), Keep::InUse(1));
    stays(|life| life.report(0, 20), Keep::Recent(secs(1_140)));
    stays(|life| life.hear(Event::Needed(Needed::Kept)).report(0, 90), Keep::Needed);
    stays(|life| life.hear(Event::Schedule(Desired::Up)).report(0, 90), Keep::Schedule);
}

#[test]
fn a_scheduled_downtime_lets_nobody_in_and_waits_for_who_is_there() {
    let mut life = Life::new(Active, settings());
    life.seen(Status::Running).report(1, 0).hear(Event::Schedule(Desired::Down { force: false }));
    life.check(Active, Phase::Closed, &[]);
    life.wait(1).report(0, 1).check(Active, Phase::Fenced, &[]);
    life.fenced(0, 1).check(CoolingDown, Phase::Closed, &[Stop]);
    life.answer(Outcome::Accepted).seen(Status::Stopped).seen(Status::Stopped);
    life.check(ScheduledDowntime, Phase::Closed, &[]).hear(wake()).check(
        ScheduledDowntime,
        Phase::Closed,
        &[],
    );
    life.hear(Event::Warmup { keep: secs(60), over_schedule: false });
    assert_eq!(life.orders, [Order::Refuse(Refusal::Scheduled)]);
    life.hear(Event::Warmup { keep: secs(60), over_schedule: true }).check(
        WarmingUp,
        Phase::Waking,
        &[Start],
    );
}

#[test]
fn a_forced_downtime_waits_for_the_fence_and_for_nobody_else() {
    let mut life = Life::new(Active, settings());
    life.seen(Status::Running).report(1, 0).hear(Event::Schedule(Desired::Down { force: true }));
    life.check(Active, Phase::Fenced, &[]).fenced(1, 0).check(Active, Phase::Fenced, &[]);
    life.wait(5).check(CoolingDown, Phase::Closed, &[Stop]);
}

#[test]
fn a_cooldown_by_hand_is_refused_unless_it_may_cut() {
    let refused = |prepare: fn(&mut Life) -> &mut Life, refusal| {
        let mut life = Life::new(Active, settings());
        life.seen(Status::Running);
        prepare(&mut life);
        life.hear(Event::Cooldown { force: false });
        assert_eq!(life.orders, [Order::Refuse(refusal)]);
        life.hear(Event::Cooldown { force: true });
        life
    };
    refused(|life| life.report(1, 0), Refusal::InUse).check(Active, Phase::Fenced, &[]);
    refused(|life| life, Refusal::InUse).check(Active, Phase::Fenced, &[]);
    refused(|life| life.hear(Event::Needed(Needed::Up)), Refusal::Needed).check(Active, Phase::Fenced, &[]);
    refused(|life| life.hear(Event::Disable), Refusal::Disabled).check(Disabled, Phase::Closed, &[]);
    let mut life = Life::new(Active, settings());
    life.seen(Status::Running).report(0, 2).hear(Event::Cooldown { force: false });
    life.fenced(0, 2).check(CoolingDown, Phase::Asleep, &[Stop]);
}

#[test]
fn an_external_change_is_believed_at_the_second_sight() {
    for (policy, stopped, started) in [
        (OnExternalChange::Adopt, (Down, Phase::Asleep), (WarmingUp, Phase::Waking)),
        (OnExternalChange::Restore, (WarmingUp, Phase::Waking), (Down, Phase::Fenced)),
    ] {
        let mut life = Life::new(Active, Settings { on_external_change: policy, ..settings() });
        life.seen(Status::Stopped).check(Active, Phase::Awake, &[]);
        life.wait(1).seen(Status::Stopped);
        assert_eq!((life.machine.state, life.machine.phase), stopped);
        let mut life = Life::asleep(Settings { on_external_change: policy, ..settings() });
        life.wait(600).seen(Status::Running).check(Down, Phase::Asleep, &[]);
        life.wait(1).seen(Status::Running);
        assert_eq!((life.machine.state, life.machine.phase), started);
    }
}

#[test]
fn it_waits_for_its_dependencies() {
    let mut life = Life::asleep(Settings { depends_timeout: Some(secs(30)), ..settings() });
    life.hear(wake()).check(WarmingUp, Phase::Waking, &[]);
    assert!(life.orders.contains(&Order::WakeDependencies));
    life.hear(Event::DependenciesReady).check(WarmingUp, Phase::Waking, &[Start]);
    let mut life = Life::asleep(Settings { depends_timeout: Some(secs(30)), ..settings() });
    life.hear(wake()).hear(Event::DependenciesFailed("db failed".into())).check(Errored, Phase::Failed, &[]);
    let mut life = Life::asleep(Settings { depends_timeout: Some(secs(30)), ..settings() });
    life.hear(wake()).wait(30).check(Errored, Phase::Failed, &[]);
}

#[test]
fn a_dry_run_only_records() {
    let mut life = Life::new(Active, Settings { dry_run: true, ..settings() });
    life.seen(Status::Running).wait(100).report(0, 90).check(Down, Phase::Awake, &[]);
    assert!(matches!(
        &life.orders[..],
        [Order::Journal(Change { to: Down, why: Why::Idle, dry_run: true, .. })]
    ));
    life.report(1, 0).check(Active, Phase::Awake, &[]);
    life.settings.dry_run = false;
    life.hear(Event::Tick).check(State::Enabled, Phase::Asleep, &[Verb::Status]);
}

#[test]
fn after_a_restart_it_looks_before_it_does_anything() {
    for (last, phase) in [
        (State::Created, Phase::Asleep),
        (Down, Phase::Asleep),
        (WarmingUp, Phase::Waking),
        (Active, Phase::Awake),
        (CoolingDown, Phase::Asleep),
        (Errored, Phase::Failed),
    ] {
        Life::new(last, settings()).check(last, phase, &[Verb::Status]);
    }
    let mut life = Life::new(WarmingUp, settings());
    life.seen(Status::Stopped).wait(9).seen(Status::Stopped).check(WarmingUp, Phase::Waking, &[]);
    life.wait(1).seen(Status::Stopped).check(WarmingUp, Phase::Waking, &[Start]);
    // Stopped by somebody else perhaps: the stop of the run before may still come.
    let mut life = Life::new(CoolingDown, settings());
    life.hear(wake()).seen(Status::Stopped).wait(9).seen(Status::Stopped).check(
        CoolingDown,
        Phase::Waking,
        &[],
    );
    life.wait(1).seen(Status::Stopped).seen(Status::Stopped).check(WarmingUp, Phase::Waking, &[Start]);
    let mut life = Life::new(CoolingDown, settings());
    life.seen(Status::Running).check(CoolingDown, Phase::Asleep, &[]);
    life.wait(10).seen(Status::Running).check(Active, Phase::Awake, &[]);
}

#[test]
fn disabled_amid_a_stop_and_enabled_again_it_waits_for_the_stop() {
    let mut life = Life::stopping();
    life.answer(Outcome::Accepted).hear(Event::Disable).check(Disabled, Phase::Closed, &[]);
    life.hear(Event::Enable).check(State::Enabled, Phase::Asleep, &[]);
    life.seen(Status::Running).check(State::Enabled, Phase::Asleep, &[]);
    life.wait(1).seen(Status::Stopped).check(Down, Phase::Asleep, &[]);
    life.hear(Event::Delete).check(State::Deleted, Phase::Closed, &[]);
    assert_eq!(life.machine.next_deadline(secs(life.now), &life.settings), None);
}
