//! A provider that is slow, throttles, lies, loses answers and refuses.

use super::{Happening, Outcome, Phase, SETTLE, World};
use crate::machine::{CallId, Event, Status, Verb};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Real {
    Stopped,
    Starting,
    Running,
    Stopping,
}

#[derive(Debug)]
pub(super) struct Provider {
    pub(super) real: Real,
    /// Out of 256.
    rude: u8,
    last_lie: u64,
    pub(super) scheduled_down: bool,
}

impl Provider {
    pub(super) fn new(dice: &mut fastrand::Rng) -> Self {
        let real = if dice.bool() { Real::Running } else { Real::Stopped };
        Self { real, rude: dice.u8(..100), last_lie: 0, scheduled_down: false }
    }

    fn status(&self) -> Status {
        match self.real {
            Real::Stopped => Status::Stopped,
            Real::Starting => Status::Starting,
            Real::Running => Status::Running,
            Real::Stopping => Status::Stopping,
        }
    }
}

impl World {
    pub(super) fn provider_answers(&mut self, id: CallId, verb: Verb, within: u64) {
        let rude = !self.calm && self.dice.u8(..) < self.provider.rude;
        let answer = |outcome| Event::Answer(id, outcome);
        if verb == Verb::Status {
            let mut status = self.provider.status();
            if rude && self.now > self.provider.last_lie + 60_000 && self.dice.bool() {
                self.provider.last_lie = self.now;
                status = self
                    .dice
                    .choice([Status::Stopped, Status::Starting, Status::Running, Status::Stopping])
                    .unwrap_or(status);
            } else if rude {
                let outcome =
                    if self.dice.bool() { Outcome::Lost } else { Outcome::Failed("throttled".into()) };
                self.inside(within, answer(outcome));
                return;
            }
            self.inside(800, answer(Outcome::Seen(status, vec!["10.0.0.1".to_owned()])));
            return;
        }
        if matches!(self.provider.real, Real::Starting | Real::Stopping) {
            self.inside(1_000, answer(Outcome::Changing));
            return;
        }
        if matches!((verb, self.provider.real), (Verb::Start, Real::Running) | (Verb::Stop, Real::Stopped)) {
            self.inside(1_000, answer(Outcome::Accepted));
            return;
        }
        if !rude {
            // Some take their time after they said yes.
            let takes = if self.dice.bool() { 500 } else { within / 3 };
            self.soon(takes, Happening::Effect(verb));
            self.inside(1_000, answer(Outcome::Accepted));
            return;
        }
        match self.dice.u8(..5) {
            0 => self.inside(within, answer(Outcome::Failed("no capacity".into()))),
            1 => {
                // It says no and does it.
                let at = self.now + self.dice.u64(..within);
                self.at(at, Happening::Inside(self.life, answer(Outcome::Failed("rude".into()))));
                let effect = (at + self.dice.u64(..SETTLE * 900)).min(self.now + within);
                self.at(effect, Happening::Effect(verb));
            }
            2 => self.soon(within.saturating_sub(1), Happening::Effect(verb)),
            3 => {
                // The answer comes when nobody waits for it any more.
                self.soon(within.saturating_sub(1), Happening::Effect(verb));
                let late = self.now + within + self.dice.u64(1..20_000);
                self.at(late, Happening::Inside(self.life, answer(Outcome::Accepted)));
            }
            _ => {
                self.at(self.now + within, Happening::Inside(self.life, answer(Outcome::Lost)));
            }
        }
    }

    pub(super) fn takes_effect(&mut self, verb: Verb) {
        match (verb, self.provider.real) {
            (Verb::Start, Real::Stopped) => self.becomes(Real::Starting, 15_000, Real::Running),
            (Verb::Stop, Real::Running | Real::Starting) => {
                if !self.forceful {
                    self.nobody_is_cut("no stop takes effect under a live connection");
                }
                self.becomes(Real::Stopping, 10_000, Real::Stopped);
            }
            _ => {}
        }
    }

    /// Somebody else starts or stops it. Who is connected is cut by them.
    pub(super) fn somebody_else(&mut self) {
        match self.provider.real {
            Real::Running => {
                self.planes.iter_mut().for_each(|plane| plane.open = 0);
                self.becomes(Real::Stopping, 10_000, Real::Stopped);
            }
            Real::Stopped => self.becomes(Real::Starting, 15_000, Real::Running),
            Real::Starting | Real::Stopping => {}
        }
    }

    fn becomes(&mut self, now: Real, within: u64, then: Real) {
        self.queue.retain(|_, next| !matches!(next, Happening::Becomes(_)));
        self.provider.real = now;
        self.soon(within, Happening::Becomes(then));
    }

    /// What was called for and is so already has no effect any more.
    pub(super) fn is_now(&mut self, real: Real) {
        self.provider.real = real;
        let moot = if real == Real::Stopped { Verb::Stop } else { Verb::Start };
        self.queue.retain(|_, next| !matches!(next, Happening::Effect(verb) if *verb == moot));
    }

    pub(super) fn carries(&self, phase: Phase, somewhere: bool) -> bool {
        self.provider.real == Real::Running
            && (phase == Phase::Awake || (phase == Phase::Waking && somewhere))
    }
}
