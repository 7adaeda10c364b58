//! Pure. What the planes are told of a target.

use std::time::Duration;

use super::{
    Machine,
    stage::{Stage, Step},
    state::State,
};
use crate::{
    idle::Moment,
    wire::{self, Phase},
};

impl Machine {
    /// What every plane is to know; `typical` is how long a wake takes as a rule, if that is known.
    pub fn target_state(&self, rule_id: &str, now: Moment, typical: Option<Duration>) -> wire::TargetState {
        let (mut elapsed, mut retry) = (Duration::ZERO, Duration::ZERO);
        match self.stage {
            Stage::Starting { asked, .. } => elapsed = now.saturating_sub(asked),
            Stage::Errored { retry: at } => retry = at.saturating_sub(now),
            _ => {}
        }
        let failed = self.phase == Phase::Failed;
        wire::TargetState {
            rule_id: rule_id.to_owned(),
            phase: self.phase.into(),
            generation: self.generation,
            addresses: self.shown_addresses().to_vec(),
            elapsed_ms: millis(elapsed),
            expected_ms: millis(typical.unwrap_or_default()),
            error: self.error.clone().filter(|_| failed).unwrap_or_default(),
            retry_after_ms: millis(retry),
        }
    }

    /// A target that only comes up has its old addresses, and another may live there by now.
    pub(super) fn shown_addresses(&self) -> &[String] {
        match &self.stage {
            Stage::Up { .. } | Stage::Fencing { .. } | Stage::Starting { step: Step::Probe(_), .. } => {
                &self.addresses
            }
            _ => &[],
        }
    }

    pub(super) fn phase_now(&self) -> Phase {
        let closed = self.scheduled_down();
        match self.stage {
            Stage::Disabled | Stage::Deleted => Phase::Closed,
            _ if self.dry_run => Phase::Awake,
            Stage::Fencing { .. } => Phase::Fenced,
            Stage::Observing { .. } if self.state == State::Errored => Phase::Failed,
            Stage::Errored { .. } => Phase::Failed,
            Stage::Starting { .. } => Phase::Waking,
            _ if closed => Phase::Closed,
            Stage::Up { .. } => Phase::Awake,
            Stage::Stopping { .. } if self.wanted.is_some() => Phase::Waking,
            Stage::Observing { .. } | Stage::Down | Stage::Stopping { .. } => Phase::Asleep,
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
