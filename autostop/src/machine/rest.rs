//! Pure. Up, and on the way down: why it stays up, the fence, the stop.

use super::{
    Machine, Turn,
    event::{Desired, Needed, Verb},
    settings::Settings,
    stage::{Need, Stage, Then},
    state::{State, Why},
};
use crate::idle::{Doubt, Fence, Moment, Usage};
use std::time::Duration;

/// Why a target stays up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nobody can say whether it is in use.
    Unknown(Doubt),
    /// So many connections, requests and held clients.
    InUse(u64),
    /// It is not idle for long enough before this moment.
    Recent(Moment),
    /// It stays up at least until this moment.
    MinOnline(Moment),
    /// A fence or a stop failed; the next follows after this moment.
    Pause(Moment),
    /// The schedule wants it up.
    Schedule,
    /// A rule that depends on it is not down.
    Needed,
}

impl Keep {
    /// When this alone keeps it up no longer, where time decides.
    pub fn until(&self) -> Option<Moment> {
        match self {
            Self::Recent(until) | Self::MinOnline(until) | Self::Pause(until) => Some(*until),
            Self::Unknown(_) | Self::InUse(_) | Self::Schedule | Self::Needed => None,
        }
    }
}

impl Machine {
    /// Why the target stays up, or `None` when it is not up, or about to be stopped.
    pub fn kept_up_by(&self, now: Moment, settings: &Settings) -> Option<Keep> {
        match self.stage {
            Stage::Up { .. } => self.may_stop(now, settings).err(),
            _ => None,
        }
    }

    pub(super) fn usage(&self, now: Moment, settings: &Settings) -> Usage {
        self.planes.usage(now, settings.pace.stale, settings.stop_under_keepalives)
    }

    fn may_stop(&self, now: Moment, settings: &Settings) -> Result<Need, Keep> {
        if let Stage::Up { fence_after } = self.stage
            && now < fence_after
        {
            return Err(Keep::Pause(fence_after));
        }
        if self.needed != Needed::Not {
            return Err(Keep::Needed);
        }
        let scheduled = self.scheduled_down();
        if scheduled && self.desired == (Desired::Down { force: true }) {
            return Ok(Need { idle: Duration::ZERO, force: true, why: Why::Schedule });
        }
        if self.heed && self.desired == Desired::Up {
            return Err(Keep::Schedule);
        }
        if !scheduled && now < self.keep_until {
            return Err(Keep::MinOnline(self.keep_until));
        }
        match self.usage(now, settings) {
            Usage::Unknown(doubt) => Err(Keep::Unknown(doubt)),
            Usage::InUse(open) => Err(Keep::InUse(open)),
            Usage::Idle(_) if scheduled => {
                Ok(Need { idle: Duration::ZERO, force: false, why: Why::Schedule })
            }
            Usage::Idle(since) => {
                let until = since.max(self.up_since) + settings.idle_time;
                if now < until {
                    return Err(Keep::Recent(until));
                }
                // A plane's word takes a moment to get here, the answer to the fence perhaps a longer one.
                let idle = settings.idle_time.saturating_sub(settings.pace.poll);
                Ok(Need { idle, force: false, why: Why::Idle })
            }
        }
    }

    pub(super) fn go_up(&mut self, turn: &mut Turn<'_>, why: Why) {
        self.wanted = None;
        self.up_since = turn.now.steady;
        self.keep_until = turn.after(turn.settings.min_online.max(self.keep));
        self.keep = Duration::ZERO;
        self.enter(turn, Stage::Up { fence_after: turn.now.steady });
        self.poll_at = turn.after(turn.settings.pace.reconcile);
        self.change(turn, State::Active, why);
    }

    pub(super) fn stay_up(&mut self, turn: &mut Turn<'_>) {
        match self.may_stop(turn.now.steady, turn.settings) {
            Ok(need) if self.dry_run => {
                self.change(turn, State::Down, need.why);
                self.look(turn);
            }
            Ok(need) if self.call.is_none() => self.fence(turn, need),
            Ok(_) => {}
            Err(_) if self.dry_run && self.state != State::Active => {
                self.go_up(turn, Why::Traffic("a client".to_owned()));
            }
            Err(_) => self.look(turn),
        }
    }

    pub(super) fn fence(&mut self, turn: &Turn<'_>, need: Need) {
        self.enter(turn, Stage::Fencing { until: turn.after(turn.settings.pace.fence), need });
    }

    /// Back to carrying. What the planes said before is void, or the same fence would close again.
    pub(super) fn abort_fence(&mut self, turn: &mut Turn<'_>) {
        self.planes.doubt_all();
        if self.state == State::Active {
            self.enter(turn, Stage::Up { fence_after: turn.now.steady });
            self.poll_at = turn.after(turn.settings.pace.reconcile);
        } else {
            // An external start was to be put back.
            self.go_up(turn, Why::Found);
        }
    }

    pub(super) fn close_fence(&mut self, turn: &mut Turn<'_>) {
        let Stage::Fencing { until, need } = &self.stage else { return };
        if self.phase != crate::wire::Phase::Fenced {
            // Its generation begins with the end of this step.
            return;
        }
        let late = turn.now.steady >= *until;
        match self.planes.fence(self.generation, need.idle, turn.settings.stop_under_keepalives) {
            Fence::Closed if self.call.is_none() => self.stop(turn),
            _ if need.force => {
                if late && self.call.is_none() {
                    self.stop(turn);
                }
            }
            Fence::Broken => self.abort_fence(turn),
            // Who was parked in vain has waited for long enough.
            Fence::Closed | Fence::Closing if late => {
                self.abort_fence(turn);
                self.pause(turn, turn.settings.pace.fence);
            }
            Fence::Closed | Fence::Closing => {}
        }
    }

    fn pause(&mut self, turn: &Turn<'_>, wait: Duration) {
        if let Stage::Up { fence_after } = &mut self.stage {
            *fence_after = turn.after(wait);
        }
    }

    fn stop(&mut self, turn: &mut Turn<'_>) {
        let Stage::Fencing { need, .. } = &self.stage else { return };
        let (why, within) = (need.why.clone(), turn.settings.stop_timeout);
        self.enter(turn, Stage::Stopping { until: turn.after(within), on_running: Then::Wait });
        self.change(turn, State::CoolingDown, why);
        self.order(turn, Verb::Stop, within);
    }

    pub(super) fn go_down(&mut self, turn: &mut Turn<'_>) {
        match self.stage {
            Stage::Stopping { until, .. } if turn.now.steady >= until => {
                self.stop_failed(turn, "it did not stop in time".to_owned());
            }
            _ => self.look(turn),
        }
    }

    /// Seen running although a stop was called, or may have been. The planes have parked what arrived
    /// ever since the fence was closed, so that another call needs no other fence.
    pub(super) fn still_running(&mut self, turn: &mut Turn<'_>, then: Then) {
        match then {
            Then::Again { from } if turn.now.steady >= from => match self.wanted.take() {
                Some(why) => self.go_up(turn, why),
                None => {
                    if let Stage::Stopping { until, on_running } = &mut self.stage {
                        *on_running = Then::Wait;
                        let within = until.saturating_sub(turn.now.steady);
                        self.order(turn, Verb::Stop, within);
                    }
                }
            },
            Then::Fail { from, why } if turn.now.steady >= from => self.stop_failed(turn, why),
            Then::Wait | Then::Again { .. } | Then::Fail { .. } => {}
        }
    }

    /// It runs on, or nobody knows: what runs is carried to again, and stopped later.
    fn stop_failed(&mut self, turn: &mut Turn<'_>, why: String) {
        if self.last_seen == Some(super::Status::Running) {
            self.error = Some(why.clone());
            self.go_up(turn, Why::Failed(why));
            self.pause(turn, turn.settings.pace.backoff_most);
        } else {
            self.fail(turn, why);
        }
    }
}
