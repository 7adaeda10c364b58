//! Pure. What people, schedules and other rules ask of a machine.

use std::{sync::Arc, time::Duration};

use super::{
    Machine, Turn,
    event::{Desired, Needed, Refusal, Verb},
    stage::{Need, Stage},
    state::{State, Why},
};
use crate::idle::Usage;

impl Machine {
    pub(super) fn somebody_came(&mut self, turn: &mut Turn<'_>, who: &Arc<str>) {
        if self.scheduled_down() || self.dry_run {
            return;
        }
        match &self.stage {
            Stage::Fencing { need, .. } if !need.force => self.abort_fence(turn),
            Stage::Observing { .. }
            | Stage::Down
            | Stage::Fencing { .. }
            | Stage::Stopping { .. }
            | Stage::Errored { .. } => {
                self.wanted.get_or_insert_with(|| Why::Traffic(who.to_string()));
            }
            Stage::Starting { .. } | Stage::Up { .. } | Stage::Disabled | Stage::Deleted => {}
        }
    }

    pub(super) fn warmup(
        &mut self,
        turn: &mut Turn<'_>,
        keep: Duration,
        over_schedule: bool,
    ) -> Result<(), Refusal> {
        if matches!(self.stage, Stage::Disabled | Stage::Deleted) {
            return Err(Refusal::Disabled);
        }
        if self.scheduled_down() {
            if !over_schedule {
                return Err(Refusal::Scheduled);
            }
            self.heed = false;
        }
        self.keep = self.keep.max(keep);
        match self.stage {
            Stage::Fencing { .. } => self.abort_fence(turn),
            Stage::Observing { .. } | Stage::Down | Stage::Stopping { .. } => self.wanted = Some(Why::Hand),
            Stage::Errored { .. } => {
                self.failures.clear();
                self.wanted = Some(Why::Hand);
                self.look_again(turn);
            }
            Stage::Starting { .. } | Stage::Up { .. } | Stage::Disabled | Stage::Deleted => {}
        }
        if let Stage::Up { .. } = self.stage {
            self.keep_until = self.keep_until.max(turn.after(keep));
        }
        Ok(())
    }

    pub(super) fn cooldown(&mut self, turn: &Turn<'_>, force: bool) -> Result<(), Refusal> {
        match &mut self.stage {
            Stage::Disabled | Stage::Deleted => return Err(Refusal::Disabled),
            Stage::Observing { .. } | Stage::Starting { .. } | Stage::Errored { .. } => {
                return Err(Refusal::Changing);
            }
            Stage::Down | Stage::Stopping { .. } => {}
            Stage::Fencing { need, .. } => need.force |= force,
            Stage::Up { .. } => {
                if self.needed != Needed::Not && !force {
                    return Err(Refusal::Needed);
                }
                if !force && !matches!(self.usage(turn.now.steady, turn.settings), Usage::Idle(_)) {
                    return Err(Refusal::InUse);
                }
                if self.desired == Desired::Up {
                    self.heed = false;
                }
                self.keep_until = turn.now.steady;
                if !self.dry_run {
                    self.fence(turn, Need { idle: Duration::ZERO, force, why: Why::Hand });
                }
            }
        }
        Ok(())
    }

    pub(super) fn scheduled(&mut self, turn: &mut Turn<'_>, desired: Desired) {
        if self.desired != desired {
            self.desired = desired;
            self.heed = true;
            if self.scheduled_down() {
                // Who waits is refused from now on.
                self.wanted = None;
            }
            self.reconsider(turn);
        }
    }

    pub(super) fn is_needed(&mut self, turn: &mut Turn<'_>, needed: Needed) {
        if self.needed != needed {
            self.needed = needed;
            self.reconsider(turn);
        }
    }

    /// What a fence was closed for may not hold any more; if it does, another one follows.
    fn reconsider(&mut self, turn: &mut Turn<'_>) {
        if let Stage::Fencing { need, .. } = &self.stage
            && (!need.force || need.why == Why::Schedule)
        {
            self.abort_fence(turn);
        }
    }

    pub(super) fn disable(&mut self, turn: &mut Turn<'_>) {
        if self.stage != Stage::Deleted {
            self.wanted = None;
            self.unsettled = match self.stage {
                Stage::Starting { until, .. } => Some((Verb::Start, until)),
                Stage::Stopping { until, .. } => Some((Verb::Stop, until)),
                _ => self.unsettled,
            };
            self.enter(turn, Stage::Disabled);
            self.change(turn, State::Disabled, Why::Hand);
        }
    }

    pub(super) fn enable(&mut self, turn: &mut Turn<'_>) {
        if self.stage == Stage::Disabled {
            self.begin(turn, Why::Hand);
        }
    }

    pub(super) fn delete(&mut self, turn: &mut Turn<'_>) {
        self.enter(turn, Stage::Deleted);
        self.change(turn, State::Deleted, Why::Hand);
    }

    /// Takes up whether the rule is a dry run, which may have changed. What was called is seen through.
    pub(super) fn take_up(&mut self, turn: &mut Turn<'_>) {
        let calling = matches!(self.stage, Stage::Starting { .. } | Stage::Stopping { .. });
        if self.dry_run != turn.settings.dry_run && !calling {
            self.dry_run = turn.settings.dry_run;
            if !matches!(self.stage, Stage::Disabled | Stage::Deleted) {
                self.begin(turn, Why::Hand);
            }
        }
    }

    fn begin(&mut self, turn: &mut Turn<'_>, why: Why) {
        self.failures.clear();
        self.error = None;
        if self.dry_run {
            self.go_up(turn, why);
        } else {
            self.change(turn, State::Enabled, why);
            self.look_again(turn);
        }
    }
}
