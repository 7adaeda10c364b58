//! Pure. On the way up: dependencies, the call, until it runs, until it is ready; and what if not.

use common::backoff::Backoff;

use super::{
    Machine, Turn,
    event::{Desired, Needed, Order, Verb},
    stage::{Stage, Step, Then},
    state::{State, Why},
};

impl Machine {
    /// Why the target should come up, if it should.
    fn demand(&self) -> Option<Why> {
        if self.scheduled_down() {
            None
        } else if self.heed && self.desired == Desired::Up {
            Some(Why::Schedule)
        } else if self.needed == Needed::Up {
            Some(Why::Dependant)
        } else {
            self.wanted.clone()
        }
    }

    pub(super) fn lie_down(&mut self, turn: &mut Turn<'_>) {
        if let Some(why) = self.demand() {
            self.start(turn, why);
            return;
        }
        let state = if self.scheduled_down() { State::ScheduledDowntime } else { State::Down };
        self.change(turn, state, Why::Schedule);
        self.look(turn);
    }

    pub(super) fn start(&mut self, turn: &mut Turn<'_>, why: Why) {
        self.wanted = None;
        self.change(turn, State::WarmingUp, why);
        self.prepare(turn);
    }

    fn prepare(&mut self, turn: &mut Turn<'_>) {
        let asked = match self.stage {
            Stage::Starting { asked, .. } => asked,
            _ => turn.now.steady,
        };
        let (step, within) = match turn.settings.depends_timeout {
            Some(within) => {
                turn.orders.push(Order::WakeDependencies);
                (Step::Depends, within)
            }
            None => (Step::Call, turn.settings.start_timeout),
        };
        self.enter(turn, Stage::Starting { asked, until: turn.after(within), step });
    }

    pub(super) fn dependencies_ready(&mut self, turn: &Turn<'_>) {
        if let Stage::Starting { step: step @ Step::Depends, until, .. } = &mut self.stage {
            *step = Step::Call;
            *until = turn.after(turn.settings.start_timeout);
        }
    }

    pub(super) fn dependencies_failed(&mut self, turn: &mut Turn<'_>, why: String) {
        if let Stage::Starting { step: Step::Depends, .. } = self.stage {
            self.fail(turn, why);
        }
    }

    pub(super) fn come_up(&mut self, turn: &mut Turn<'_>) {
        let Stage::Starting { until, step, .. } = &mut self.stage else { return };
        if turn.now.steady >= *until {
            let why = match step {
                Step::Depends => "what it depends on did not come up in time",
                Step::Call | Step::Watch { .. } => "it did not run in time",
                Step::Probe(_) => {
                    self.unready = true;
                    "it runs, but was not ready in time"
                }
            };
            self.fail(turn, why.to_owned());
        } else if *step == Step::Call && self.call.is_none() {
            *step = Step::Watch { on_stopped: Then::Wait };
            let within = until.saturating_sub(turn.now.steady);
            self.order(turn, Verb::Start, within);
        } else if !matches!(step, Step::Depends | Step::Call) {
            self.look(turn);
        }
    }

    /// Seen stopped although a start was called, or may have been.
    pub(super) fn still_stopped(&mut self, turn: &mut Turn<'_>, then: Then) {
        match then {
            Then::Again { from } if turn.now.steady >= from => match &mut self.stage {
                Stage::Starting { step, .. } if turn.settings.depends_timeout.is_none() => *step = Step::Call,
                _ => self.prepare(turn),
            },
            Then::Fail { from, why } if turn.now.steady >= from => self.fail(turn, why),
            Then::Wait | Then::Again { .. } | Then::Fail { .. } => {}
        }
    }

    pub(super) fn probe(&mut self, turn: &mut Turn<'_>) {
        let number = self.next_id;
        self.next_id += 1;
        turn.orders.push(Order::Probe(number));
        if let Stage::Starting { step, .. } = &mut self.stage {
            *step = Step::Probe(number);
        }
    }

    /// It runs, and nobody here called for it: it is carried to once it is ready. What was not ready in
    /// time before is let go up as it is, so that idleness can stop it.
    pub(super) fn found_running(&mut self, turn: &mut Turn<'_>) {
        if self.unready {
            self.go_up(turn, Why::Found);
            return;
        }
        self.change(turn, State::WarmingUp, Why::Found);
        let (asked, until) = (turn.now.steady, turn.after(turn.settings.start_timeout));
        self.enter(turn, Stage::watch(asked, until, Then::Wait));
        self.probe(turn);
    }

    /// The probe that is to be going on.
    pub fn probing(&self) -> Option<u64> {
        match self.stage {
            Stage::Starting { step: Step::Probe(number), .. } => Some(number),
            _ => None,
        }
    }

    pub(super) fn ready(&mut self, turn: &mut Turn<'_>, number: u64) {
        if self.probing() == Some(number) {
            self.failures.clear();
            self.error = None;
            self.unready = false;
            self.go_up(turn, Why::Done);
        }
    }

    /// It did not come up. It is looked at again after a while, and left alone for long when that
    /// happened too often.
    pub(super) fn fail(&mut self, turn: &mut Turn<'_>, why: String) {
        let pace = &turn.settings.pace;
        let now = turn.now.steady;
        self.failures.retain(|failed| now < *failed + pace.budget_window);
        self.failures.push_back(now);
        let mut backoff = Backoff::new(pace.backoff_first, pace.backoff_most);
        let mut wait = backoff.wait(turn.now.luck);
        for _ in 1..self.failures.len() {
            wait = backoff.wait(turn.now.luck);
        }
        let mut retry = now + wait.max(pace.settle);
        if let Some(first) = self.failures.front()
            && self.failures.len() >= pace.budget as usize
        {
            retry = retry.max(*first + pace.budget_window);
        }
        self.error = Some(why.clone());
        self.enter(turn, Stage::Errored { retry });
        self.change(turn, State::Errored, Why::Failed(why));
    }
}
