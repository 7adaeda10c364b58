//! Pure. What the answers of a provider mean, wherever the machine stands.

use std::time::Duration;

use super::{
    Machine, Turn,
    event::{Outcome, Status, Verb},
    settings::OnExternalChange,
    stage::{Need, Stage, Step, Then},
    state::{State, Why},
};

/// So many status calls in a row fail before waiters are told.
const MISSES: u32 = 5;

impl Machine {
    pub(super) fn answered(&mut self, turn: &mut Turn<'_>, outcome: Outcome) {
        let Some(call) = self.call.take() else { return };
        match (call.verb, outcome) {
            (Verb::Status, Outcome::Seen(status, addresses)) => {
                self.misses = 0;
                self.last_seen = Some(status);
                if !addresses.is_empty() {
                    self.addresses = addresses;
                }
                self.seen(turn, status);
            }
            (Verb::Status, _) => self.missed(turn),
            (verb, outcome) => self.called(turn, verb, outcome),
        }
    }

    /// A start or a stop was answered: look whether it is true.
    fn called(&mut self, turn: &Turn<'_>, verb: Verb, outcome: Outcome) {
        let settled = turn.after(turn.settings.pace.settle);
        let then = match outcome {
            Outcome::Accepted | Outcome::Seen(..) => Then::Wait,
            Outcome::Changing => Then::Again { from: turn.now.steady },
            Outcome::Failed(why) => Then::Fail { from: settled, why },
            Outcome::Lost => Then::Fail { from: settled, why: "the provider did not answer".to_owned() },
        };
        match &mut self.stage {
            Stage::Starting { step: Step::Watch { on_stopped }, .. } if verb == Verb::Start => {
                *on_stopped = then;
            }
            Stage::Stopping { on_running, .. } if verb == Verb::Stop => *on_running = then,
            _ => return,
        }
        self.poll_at = turn.now.steady;
    }

    fn missed(&mut self, turn: &mut Turn<'_>) {
        self.misses += 1;
        self.poll_at = turn.after(turn.settings.pace.poll * (1 << self.misses.min(6)));
        if matches!(self.stage, Stage::Observing { .. }) && self.misses >= MISSES {
            self.fail(turn, "the provider does not say how it is".to_owned());
        }
    }

    fn seen(&mut self, turn: &mut Turn<'_>, status: Status) {
        let doubted = self.doubt.take() == Some(status);
        self.poll_at = turn.after(turn.settings.pace.poll);
        match (&self.stage, status) {
            (Stage::Observing { .. }, Status::Stopped) if self.may_yet(turn, Verb::Start) => {}
            (Stage::Observing { .. }, Status::Running) if self.may_yet(turn, Verb::Stop) => {}
            (Stage::Observing { .. }, Status::Stopped) => self.set_down(turn, Why::Found),
            (Stage::Observing { .. }, Status::Running) => self.found_running(turn),
            (Stage::Down, Status::Stopped) | (Stage::Up { .. }, Status::Running | Status::Starting) => {
                self.poll_at = turn.after(turn.settings.pace.reconcile);
            }
            (Stage::Down, Status::Running) if doubted => self.started_outside(turn),
            (Stage::Up { .. }, Status::Stopped) if doubted => self.stopped_outside(turn),
            (Stage::Down, Status::Running) | (Stage::Up { .. }, Status::Stopped) => self.doubt = Some(status),
            (Stage::Starting { step: Step::Call | Step::Watch { .. }, .. }, Status::Running) => {
                self.probe(turn);
            }
            (Stage::Starting { step: Step::Watch { on_stopped }, .. }, Status::Stopped) => {
                let then = on_stopped.clone();
                self.still_stopped(turn, then);
            }
            // Stopped by somebody else perhaps, while our own stop may still come, upon whatever starts.
            (Stage::Stopping { on_running: Then::Fail { from, .. }, .. }, Status::Stopped)
                if turn.now.steady < *from => {}
            (Stage::Stopping { .. }, Status::Stopped) if doubted => self.set_down(turn, Why::Done),
            (Stage::Stopping { .. }, Status::Stopped) => {
                // The one sight that opens the way for a start. It costs a call to be sure.
                self.doubt = Some(status);
                self.poll_at = turn.now.steady;
            }
            (Stage::Stopping { on_running, .. }, Status::Running) => {
                let then = on_running.clone();
                self.still_running(turn, then);
            }
            _ => {}
        }
    }

    fn started_outside(&mut self, turn: &mut Turn<'_>) {
        match turn.settings.on_external_change {
            OnExternalChange::Adopt => self.found_running(turn),
            OnExternalChange::Restore => {
                self.fence(turn, Need { idle: Duration::ZERO, force: false, why: Why::Found });
            }
        }
    }

    fn stopped_outside(&mut self, turn: &mut Turn<'_>) {
        if self.dry_run {
            return;
        }
        if turn.settings.on_external_change == OnExternalChange::Restore && !self.scheduled_down() {
            self.start(turn, Why::Found);
        } else {
            self.set_down(turn, Why::Found);
        }
    }

    pub(super) fn set_down(&mut self, turn: &mut Turn<'_>, why: Why) {
        self.unready = false;
        let state = if self.scheduled_down() { State::ScheduledDowntime } else { State::Down };
        self.enter(turn, Stage::Down);
        self.poll_at = turn.after(turn.settings.pace.reconcile);
        self.change(turn, state, why);
    }

    /// Whether a call of which the end was never seen may still take effect.
    fn may_yet(&self, turn: &Turn<'_>, called: Verb) -> bool {
        self.unsettled.is_some_and(|(verb, until)| verb == called && turn.now.steady < until)
    }

    pub(super) fn look_again(&mut self, turn: &Turn<'_>) {
        let settled = self.unsettled.map_or(turn.now.steady, |(_, until)| until.max(turn.now.steady));
        self.enter(turn, Stage::Observing { until: settled + turn.settings.start_timeout });
    }

    pub(super) fn observe(&mut self, turn: &mut Turn<'_>) {
        match self.stage {
            Stage::Observing { until } if turn.now.steady >= until => {
                self.fail(turn, "it neither runs nor is stopped".to_owned());
            }
            _ => self.look(turn),
        }
    }
}
