//! Pure. Lives of one target in a rude world, drawn from a seed, with the laws asserted after every step.
//! The ordinary tests rehearse a few thousand, a soak as many as it likes.

mod plane;
mod provider;

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    idle::Report,
    machine::{
        Desired, Event, Machine, Needed, Now, OnExternalChange, Order, Outcome, Pace, Settings, State, Verb,
    },
    wire::Phase,
};
use plane::Plane;
use provider::{Provider, Real};

/// Simulated seconds of rudeness, and of calm after it.
const RUDE: u64 = 3600;
const CALM: u64 = 2400;
const SETTLE: u64 = 10;
const STEPS: u64 = 200_000;
const STORY: usize = 40;

/// Rehearses one life for each seed.
///
/// # Panics
/// When a law is broken; the message names the seed.
pub fn rehearse(seeds: Range<u64>) {
    for seed in seeds {
        World::new(seed).live();
    }
}

#[derive(Clone, Debug)]
enum Happening {
    /// For the machine, from within its own process: lost when that ends.
    Inside(u64, Event),
    /// From a plane, over its link.
    Said(usize, u64, Event),
    /// To a plane, over its link.
    Told(usize, u64, Told),
    Effect(Verb),
    Becomes(Real),
    Probe(u64, u64),
    Arrive(usize),
    Leave(usize),
    Report(usize),
    Attach(usize),
    Rudeness,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    phase: Phase,
    generation: u64,
    somewhere: bool,
}

struct World {
    seed: u64,
    dice: fastrand::Rng,
    /// Milliseconds.
    now: u64,
    skew: SignedDuration,
    queue: BTreeMap<(u64, u64), Happening>,
    tie: u64,
    settings: Settings,
    machine: Machine,
    durable: State,
    /// Counts the lives of the control plane.
    life: u64,
    in_flight: Option<(crate::machine::CallId, u64)>,
    provider: Provider,
    planes: Vec<Plane>,
    calm: bool,
    /// Whether this life knows force, which may cut.
    forceful: bool,
    by_hand: bool,
    up_at: Option<u64>,
    /// The last events and orders, for the message when a law is broken.
    story: VecDeque<(u64, Event, Vec<Order>)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let secs = Duration::from_secs;
        let settings = Settings {
            idle_time: secs(dice.u64(1..90)),
            min_online: secs(dice.u64(0..60)),
            start_timeout: secs(60),
            stop_timeout: secs(40),
            depends_timeout: dice.bool().then_some(secs(30)),
            dry_run: dice.u8(..) < 8,
            on_external_change: if dice.bool() { OnExternalChange::Adopt } else { OnExternalChange::Restore },
            stop_under_keepalives: false,
            pace: Pace {
                reconcile: secs(120),
                settle: secs(SETTLE),
                budget_window: secs(900),
                ..Pace::default()
            },
        };
        let now = Now { steady: secs(100_000), wall: Timestamp::UNIX_EPOCH, luck: 0.5 };
        let planes = (0..dice.usize(1..3)).map(|_| Plane::default()).collect();
        Self {
            seed,
            now: 100_000_000,
            skew: SignedDuration::ZERO,
            queue: BTreeMap::new(),
            tie: 0,
            machine: Machine::new(now, &settings),
            settings,
            durable: State::Created,
            life: 0,
            in_flight: None,
            provider: Provider::new(&mut dice),
            planes,
            calm: false,
            forceful: dice.u8(..) < 64,
            by_hand: false,
            up_at: None,
            story: VecDeque::new(),
            dice,
        }
    }

    fn live(mut self) {
        let begin = self.now;
        for plane in 0..self.planes.len() {
            self.soon(5_000, Happening::Attach(plane));
            self.soon(60_000, Happening::Arrive(plane));
        }
        self.soon(30_000, Happening::Rudeness);
        self.until(begin + RUDE * 1000);
        self.calm_down();
        self.until(begin + (RUDE + CALM) * 1000);
        self.end();
    }

    fn until(&mut self, end: u64) {
        for _ in 0..STEPS {
            let steady = Duration::from_millis(self.now);
            let due = self.machine.next_deadline(steady, &self.settings).map(|due| {
                // A deadline is a whole number of milliseconds, except after a backoff.
                u64::try_from(due.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
            });
            let next = self.queue.first_key_value().map(|((at, _), _)| *at);
            let at = due.into_iter().chain(next).min().unwrap_or(end).max(self.now);
            if at >= end {
                self.now = end;
                return;
            }
            self.now = at;
            if next == Some(at) {
                if let Some((_, happening)) = self.queue.pop_first() {
                    self.happen(happening);
                }
            } else {
                self.step(Event::Tick);
            }
        }
        self.law(false, "it comes to rest");
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Inside(life, event) if life == self.life => {
                if let Event::Answer(id, _) = event
                    && self.in_flight.is_some_and(|(flying, _)| flying == id)
                {
                    self.in_flight = None;
                }
                self.step(event);
            }
            Happening::Inside(..) => {}
            Happening::Said(plane, link, event) => {
                if self.planes.get(plane).is_some_and(|plane| plane.link == link && plane.attached) {
                    self.step(event);
                }
            }
            Happening::Told(plane, link, told) => self.plane_hears(plane, link, told),
            Happening::Effect(verb) => self.takes_effect(verb),
            Happening::Becomes(real) => self.is_now(real),
            Happening::Probe(life, number) => {
                if life == self.life && self.machine.probing() == Some(number) {
                    if self.provider.real == Real::Running && self.dice.u8(..) < 200 {
                        self.step(Event::Ready(number));
                    } else {
                        self.soon(1_000, Happening::Probe(life, number));
                    }
                }
            }
            Happening::Arrive(plane) => self.arrives(plane),
            Happening::Leave(plane) => self.leaves(plane),
            Happening::Report(plane) => self.reports(plane),
            Happening::Attach(plane) => self.attaches(plane),
            Happening::Rudeness => self.rudeness(),
        }
    }

    fn clocks(&mut self) -> Now {
        let steady = Duration::from_millis(self.now);
        Now { steady, wall: Timestamp::UNIX_EPOCH + steady + self.skew, luck: self.dice.f64() }
    }

    fn step(&mut self, event: Event) {
        self.by_hand |= matches!(event, Event::Cooldown { .. });
        let now = self.clocks();
        let orders = self.machine.step(now, event.clone(), &self.settings);
        if self.story.len() == STORY {
            self.story.pop_front();
        }
        self.story.push_back((self.now, event, orders.clone()));
        for order in orders {
            // The end may come between any two orders.
            if !self.calm && self.dice.u32(..3_000) == 0 {
                self.crash();
                return;
            }
            self.carry_out(order);
        }
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Journal(change) => {
                self.law(change.from != change.to, "a change changes something");
                if change.to == State::Active {
                    self.up_at = Some(self.now);
                    self.by_hand = false;
                }
                self.durable = change.to;
            }
            Order::Call { id, verb, within } => self.called(id, verb, within),
            Order::Tell => {
                for plane in 0..self.planes.len() {
                    self.tell(plane);
                }
            }
            Order::WakeDependencies => {
                let outcome = match self.dice.u8(..) {
                    0..20 if !self.calm => Event::DependenciesFailed("rude".to_owned()),
                    20..40 if !self.calm => return,
                    _ => Event::DependenciesReady,
                };
                self.inside(10_000, outcome);
            }
            Order::Probe(number) => self.soon(3_000, Happening::Probe(self.life, number)),
            Order::Refuse(_) => {}
        }
    }

    /// The laws, at the moment a call is made.
    fn called(&mut self, id: crate::machine::CallId, verb: Verb, within: Duration) {
        let within = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        self.law(self.in_flight.is_none_or(|(_, until)| until <= self.now), "one call is in flight at most");
        self.in_flight = Some((id, self.now + within));
        if verb != Verb::Status {
            self.law(!self.settings.dry_run, "a dry run calls nothing");
            let pending = self.queue.values().any(|next| matches!(next, Happening::Effect(_)));
            self.law(!pending, "no call while an earlier one may take effect");
        }
        match verb {
            Verb::Start => {
                self.law(self.durable == State::WarmingUp, "a start is durable before it is called");
            }
            Verb::Stop => {
                self.law(self.durable == State::CoolingDown, "a stop is durable before it is called");
                if !self.forceful {
                    self.nobody_is_cut("no stop is called under a live connection");
                    let quiet =
                        self.planes.iter().all(|plane| !plane.attached || plane.phase != Phase::Awake);
                    self.law(quiet, "no stop is called before every plane is fenced");
                    let rested = self.up_at.is_none_or(|up| {
                        self.now - up
                            >= u64::try_from(self.settings.min_online.as_millis()).unwrap_or(u64::MAX)
                    });
                    self.law(rested || self.by_hand || self.durable_downtime(), "it stays up for min_online");
                }
            }
            Verb::Status => {}
        }
        self.provider_answers(id, verb, within);
    }

    fn durable_downtime(&self) -> bool {
        self.provider.scheduled_down
    }

    fn nobody_is_cut(&self, law: &str) {
        self.law(self.planes.iter().all(|plane| plane.open == 0), law);
    }

    fn rudeness(&mut self) {
        if self.calm {
            return;
        }
        self.soon(120_000, Happening::Rudeness);
        let force = self.forceful && self.dice.bool();
        let keep = Duration::from_secs(self.dice.u64(0..200));
        let needed = self.dice.choice([Needed::Not, Needed::Kept, Needed::Up]).unwrap_or_default();
        match self.dice.u8(..14) {
            0 => self.crash(),
            1 => self.step(Event::Cooldown { force }),
            2 => self.step(Event::Warmup { keep, over_schedule: keep.as_secs() < 100 }),
            3 => self.schedule(Desired::Up),
            4 => self.schedule(Desired::Down { force }),
            5 => self.schedule(Desired::Nothing),
            6 => self.step(Event::Needed(needed)),
            7 if keep.as_secs() < 50 => self.step(Event::Disable),
            8 => self.step(Event::Reconcile),
            9 => self.skew = SignedDuration::from_secs(self.dice.i64(-100_000..100_000)),
            10 => self.somebody_else(),
            11 | 12 => {
                let plane = self.dice.usize(..self.planes.len());
                self.detaches(plane);
            }
            _ => self.step(Event::Enable),
        }
    }

    fn schedule(&mut self, desired: Desired) {
        self.provider.scheduled_down = matches!(desired, Desired::Down { .. });
        self.step(Event::Schedule(desired));
    }

    fn crash(&mut self) {
        self.life += 1;
        self.in_flight = None;
        let now = self.clocks();
        self.machine = Machine::recover(now, self.durable, vec!["10.0.0.1".to_owned()], &self.settings);
        // Its children die with it: what they were about takes effect soon or never.
        let effects: Vec<_> = self
            .queue
            .iter()
            .filter(|(_, next)| matches!(next, Happening::Effect(_)))
            .map(|(at, _)| *at)
            .collect();
        for at in effects {
            if let Some(effect) = self.queue.remove(&at)
                && self.dice.bool()
            {
                self.soon(SETTLE * 900, effect);
            }
        }
        let desired =
            if self.provider.scheduled_down { Desired::Down { force: false } } else { Desired::Nothing };
        for plane in 0..self.planes.len() {
            let known = self.planes.get(plane).is_some_and(|plane| plane.known);
            if known {
                self.planes.iter_mut().for_each(|plane| plane.attached = false);
                self.soon(5_000, Happening::Attach(plane));
            }
        }
        let before = self.life;
        for (at, plane) in self.planes.clone().into_iter().enumerate() {
            if plane.known && self.life == before {
                self.step(Event::Away(Plane::name(at)));
            }
        }
        if self.life == before {
            self.step(Event::Schedule(desired));
        }
    }

    fn calm_down(&mut self) {
        self.calm = true;
        self.provider.scheduled_down = false;
        for event in [Event::Enable, Event::Needed(Needed::Not), Event::Schedule(Desired::Nothing)] {
            self.step(event);
        }
        for plane in 0..self.planes.len() {
            self.soon(10, Happening::Attach(plane));
            self.soon(3_000, Happening::Arrive(plane));
        }
    }

    /// After hours of calm without a new client.
    fn end(&self) {
        self.law(self.planes.iter().all(|plane| plane.parked == 0), "every waiter is answered");
        if !self.settings.dry_run {
            self.law(self.machine.state() == State::Down, "what nobody uses goes down");
            self.law(self.provider.real == Real::Stopped, "what is down is stopped");
        }
    }

    fn soon(&mut self, within: u64, happening: Happening) {
        let at = self.now + self.dice.u64(..=within);
        self.at(at, happening);
    }

    fn at(&mut self, at: u64, happening: Happening) {
        self.tie += 1;
        self.queue.insert((at, self.tie), happening);
    }

    fn inside(&mut self, within: u64, event: Event) {
        self.soon(within, Happening::Inside(self.life, event));
    }

    #[expect(clippy::panic, reason = "a broken law must be seen")]
    fn law(&self, holds: bool, law: &str) {
        if !holds {
            let story = self
                .story
                .iter()
                .map(|(at, event, orders)| format!("{}.{:03} {event:?} => {orders:?}", at / 1000, at % 1000));
            let story = story.collect::<Vec<_>>().join("\n");
            panic!(
                "seed {}, second {}: {law}\n{story}\n{:?}\n{:?}\n{:?}",
                self.seed,
                self.now / 1000,
                self.machine,
                self.provider,
                self.planes
            );
        }
    }
}
