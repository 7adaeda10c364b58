//! Pure. Moves a machine back in time, so that a model checker sees that a state is one it knows.

use std::time::Duration;

use super::{
    Machine,
    event::CallId,
    stage::{Stage, Step, Then},
};
use crate::idle::Moment;

impl Machine {
    /// The same machine as if everything had happened `by` earlier, with the lowest numbers for what is
    /// only compared. What is due is due `now`; what is past is not before `floor`. Returns by how much
    /// generations became less.
    #[doc(hidden)]
    pub fn rebase(&mut self, by: Duration, now: Moment, floor: Moment, generation: u64) -> u64 {
        let due = |moment: &mut Moment| *moment = moment.saturating_sub(by).max(now);
        let past = |moment: &mut Moment| *moment = moment.saturating_sub(by).max(floor);
        match &mut self.stage {
            Stage::Observing { until } | Stage::Fencing { until, .. } => due(until),
            Stage::Starting { asked, until, step } => {
                *asked = floor;
                due(until);
                match step {
                    Step::Watch { on_stopped: Then::Again { from } | Then::Fail { from, .. } } => due(from),
                    Step::Probe(number) => *number = 1,
                    Step::Depends | Step::Call | Step::Watch { on_stopped: Then::Wait } => {}
                }
            }
            Stage::Up { fence_after } => due(fence_after),
            Stage::Stopping { until, on_running } => {
                due(until);
                if let Then::Again { from } | Then::Fail { from, .. } = on_running {
                    due(from);
                }
            }
            Stage::Errored { retry } => due(retry),
            Stage::Down | Stage::Disabled | Stage::Deleted => {}
        }
        for moment in [&mut self.poll_at, &mut self.keep_until] {
            due(moment);
        }
        if let Some((_, until)) = &mut self.unsettled {
            due(until);
        }
        past(&mut self.up_since);
        self.failures.iter_mut().for_each(past);
        self.next_id = 2;
        if let Some(call) = &mut self.call {
            call.id = CallId(2);
            due(&mut call.until);
            self.next_id = 3;
        }
        let less = self.generation.saturating_sub(generation);
        self.generation -= less;
        self.planes.rebase(past, less);
        less
    }
}
