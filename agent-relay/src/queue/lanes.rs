//! Pure. Whose turn it is: one record of an agent at a time, agents in turn, those that are up to date first.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque, hash_map::Entry},
    time::Instant,
};

/// Of so many turns, one is for those that are behind, however many are up to date.
const SHARE: u32 = 4;
/// An agent with more records than this is behind.
const BEHIND: u64 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    /// In one of the lines.
    Ready,
    /// Somebody delivers its first record.
    Taken,
    /// Not before this moment.
    Waiting(Instant),
}

/// The lines of agents that have something to deliver.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: HashMap<u32, Lane>,
    live: VecDeque<u32>,
    backlog: VecDeque<u32>,
    waiting: BinaryHeap<Reverse<(Instant, u32)>>,
    turn: u32,
}

impl Lanes {
    /// An agent has records, this many. Returns whether it lines up with that.
    pub(crate) fn arrived(&mut self, agent: u32, queued: u64) -> bool {
        let Entry::Vacant(vacant) = self.lanes.entry(agent) else { return false };
        vacant.insert(Lane::Ready);
        self.line_up(agent, queued);
        true
    }

    fn line_up(&mut self, agent: u32, queued: u64) {
        if queued > BEHIND { self.backlog.push_back(agent) } else { self.live.push_back(agent) }
    }

    /// The agent whose turn it is; it is nobody else's until it is given back.
    pub(crate) fn take(&mut self, now: Instant, queued: impl Fn(u32) -> u64) -> Option<u32> {
        while let Some(Reverse((when, agent))) = self.waiting.peek().copied() {
            if when > now {
                break;
            }
            self.waiting.pop();
            if self.lanes.get(&agent) == Some(&Lane::Waiting(when)) {
                self.lanes.insert(agent, Lane::Ready);
                self.line_up(agent, queued(agent));
            }
        }
        self.turn = self.turn.wrapping_add(1);
        let taken = if self.turn.is_multiple_of(SHARE) {
            self.backlog.pop_front().or_else(|| self.live.pop_front())
        } else {
            self.live.pop_front().or_else(|| self.backlog.pop_front())
        }?;
        self.lanes.insert(taken, Lane::Taken);
        Some(taken)
    }

    /// Its first record is done, and so many are left.
    pub(crate) fn done(&mut self, agent: u32, queued: u64) {
        self.lanes.remove(&agent);
        if queued > 0 {
            self.arrived(agent, queued);
        }
    }

    /// Its first record has to be tried again, not before `when`.
    pub(crate) fn retry(&mut self, agent: u32, when: Instant) {
        self.lanes.insert(agent, Lane::Waiting(when));
        self.waiting.push(Reverse((when, agent)));
    }

    /// An agent that waits may try now.
    pub(crate) fn nudge(&mut self, agent: u32, now: Instant) {
        if matches!(self.lanes.get(&agent), Some(Lane::Waiting(_))) {
            self.retry(agent, now);
        }
    }

    /// Everybody who waits may try now.
    pub(crate) fn wake(&mut self, now: Instant) {
        let waiting: Vec<_> = self.waiting.drain().collect();
        for Reverse((when, agent)) in waiting {
            if self.lanes.get(&agent) == Some(&Lane::Waiting(when)) {
                self.retry(agent, now);
            }
        }
    }

    /// When somebody who waits may try again.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse((when, _))| *when)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_of_one_agent_takes_one_turn_in_four_at_most() {
        let mut lanes = Lanes::default();
        let now = Instant::now();
        lanes.arrived(0, 1000);
        (1..=3).for_each(|agent| assert!(lanes.arrived(agent, 1)));
        let mut turns = Vec::new();
        for _ in 0..400 {
            let agent = lanes.take(now, |_| 1).unwrap();
            turns.push(agent);
            lanes.done(agent, if agent == 0 { 1000 } else { 1 });
        }
        let of = |agent| turns.iter().filter(|turn| **turn == agent).count();
        assert_eq!([of(0), of(1), of(2), of(3)], [100, 100, 100, 100]);
    }

    #[test]
    fn nobody_else_gets_an_agent_that_is_taken_or_has_to_wait() {
        let mut lanes = Lanes::default();
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        lanes.arrived(7, 2);
        assert_eq!(lanes.take(now, |_| 2), Some(7));
        lanes.arrived(7, 3);
        assert_eq!(lanes.take(now, |_| 3), None);
        lanes.retry(7, later);
        lanes.arrived(7, 4);
        assert_eq!((lanes.take(now, |_| 4), lanes.next()), (None, Some(later)));
        assert_eq!(lanes.take(later, |_| 4), Some(7));
        lanes.done(7, 0);
        assert_eq!((lanes.take(later, |_| 0), lanes.next()), (None, None));
    }

    #[test]
    fn those_who_wait_can_all_be_woken() {
        let mut lanes = Lanes::default();
        let now = Instant::now();
        for agent in 0..3 {
            lanes.arrived(agent, 1);
            lanes.take(now, |_| 1).unwrap();
            lanes.retry(agent, now + Duration::from_secs(60));
        }
        lanes.wake(now);
        let woken: Vec<_> = std::iter::from_fn(|| lanes.take(now, |_| 1)).collect();
        assert_eq!(woken, [0, 1, 2]);
    }
}
