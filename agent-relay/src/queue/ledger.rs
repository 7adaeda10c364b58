//! Pure. How far each agent is: accepted = delivered + queued + dead-lettered, to the unit, at every moment.

use std::collections::HashMap;

use serde::Serialize;

/// How far something has come: records, and bytes of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) number: u64,
    pub(crate) total: u64,
}

/// One agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Agent {
    pub(crate) name: String,
    /// The last record that was acknowledged.
    pub(crate) last: Position,
    /// The last record that is delivered, or a dead letter.
    pub(crate) done: Position,
    /// Records that became dead letters.
    pub(crate) dead: u64,
    /// Records that were set aside into another lane.
    pub(crate) moved_out: u64,
    /// Records that are dead letters put back.
    pub(crate) replayed: u64,
    /// Records that were set aside from another lane.
    pub(crate) moved_in: u64,
    /// The highest number that any of its records had where it came from.
    pub(crate) origin: u64,
    /// No record behind `done` stands in a file before this one.
    pub(crate) near: u64,
}

/// The balance sheet; `accepted` is always the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// Requests that agents were told are accepted.
    pub accepted: u64,
    /// Those that the other side took.
    pub delivered: u64,
    /// Those that wait on disk.
    pub queued: u64,
    /// Those that the other side refused for good, or that grew too old.
    pub dead_lettered: u64,
}

impl Agent {
    /// Records that wait.
    pub(crate) fn queued(&self) -> u64 {
        self.last.number.saturating_sub(self.done.number)
    }

    /// Bytes that wait.
    pub(crate) fn queued_bytes(&self) -> u64 {
        self.last.total.saturating_sub(self.done.total)
    }

    /// Its part of the balance sheet.
    pub(crate) fn balance(&self) -> Balance {
        Balance {
            accepted: self.last.number.saturating_sub(self.replayed.saturating_add(self.moved_in)),
            delivered: self.done.number.saturating_sub(self.dead.saturating_add(self.moved_out)),
            queued: self.queued(),
            dead_lettered: self.dead.saturating_sub(self.replayed),
        }
    }
}

/// A record that was acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Arrival {
    pub(crate) position: Position,
    pub(crate) is_replayed: bool,
    pub(crate) is_moved: bool,
    pub(crate) origin: u64,
}

/// How many records of an agent came from elsewhere, and from where.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moved {
    pub(crate) replayed: u64,
    pub(crate) moved_in: u64,
    pub(crate) origin: u64,
}

/// How many records of an agent are done without being delivered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Given {
    pub(crate) dead: u64,
    pub(crate) moved_out: u64,
}

/// All agents, by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// Which queue this is, drawn when it was made: its numbers mean nothing elsewhere.
    pub(crate) id: u128,
    agents: Vec<Agent>,
    numbers: HashMap<String, u32>,
    /// All names together.
    names_bytes: usize,
    queued_bytes: u64,
}

impl Ledger {
    /// The number of an agent, if it was ever seen.
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// The number that the next new agent gets.
    pub(crate) fn next(&self) -> u32 {
        u32::try_from(self.agents.len()).unwrap_or(u32::MAX)
    }

    /// Knows an agent by this number from now on.
    pub(crate) fn name(&mut self, agent: u32, name: &str) {
        let named = self.at(agent);
        let before = named.name.len();
        name.clone_into(&mut named.name);
        self.names_bytes = self.names_bytes - before + name.len();
        self.numbers.insert(name.to_owned(), agent);
    }

    fn at(&mut self, agent: u32) -> &mut Agent {
        /// Beyond this a number is nonsense, whatever its checksum says.
        const MOST_AGENTS: usize = 1 << 17;
        let index = (agent as usize).min(MOST_AGENTS);
        if self.agents.len() <= index {
            self.agents.resize_with(index + 1, Agent::default);
        }
        #[expect(clippy::indexing_slicing, reason = "made long enough above")]
        &mut self.agents[index]
    }

    /// An agent; one that was never seen has nothing.
    pub(crate) fn agent(&self, agent: u32) -> Agent {
        self.agents.get(agent as usize).cloned().unwrap_or_default()
    }

    /// How far an agent is, without its name.
    pub(crate) fn look(&self, agent: u32) -> Option<&Agent> {
        self.agents.get(agent as usize)
    }

    /// Every agent with its number.
    pub(crate) fn agents(&self) -> impl Iterator<Item = (u32, &Agent)> {
        (0_u32..).zip(&self.agents)
    }

    /// How many bytes the names of all agents have.
    pub(crate) fn names_bytes(&self) -> usize {
        self.names_bytes
    }

    /// A record was acknowledged, or is found to have been. Those that were known before change nothing.
    pub(crate) fn accepted(&mut self, agent: u32, arrival: Arrival) {
        let Arrival { position: last, is_replayed, is_moved, origin } = arrival;
        let known = self.at(agent);
        if last.number > known.last.number {
            let more = last.total.saturating_sub(known.last.total.max(known.done.total));
            known.last = last;
            known.replayed += u64::from(is_replayed);
            known.moved_in += u64::from(is_moved);
            known.origin = known.origin.max(origin);
            self.queued_bytes = self.queued_bytes.saturating_add(more);
        }
    }

    /// What was written down of an agent: its last record, and what came from elsewhere.
    pub(crate) fn recall_last(&mut self, agent: u32, last: Position, moved: Moved) {
        let known = self.at(agent);
        if last.number >= known.last.number {
            let before = known.queued_bytes();
            known.last = last;
            known.replayed = known.replayed.max(moved.replayed);
            known.moved_in = known.moved_in.max(moved.moved_in);
            known.origin = known.origin.max(moved.origin);
            let after = known.queued_bytes();
            self.queued_bytes = self.queued_bytes.saturating_sub(before).saturating_add(after);
        }
    }

    /// Everything up to `done` is delivered or given away, and the rest is not before file `near`.
    pub(crate) fn done(&mut self, agent: u32, done: Position, given: Given, near: u64) {
        let known = self.at(agent);
        if done.number < known.done.number {
            return;
        }
        let before = known.queued_bytes();
        known.done = done;
        known.dead = known.dead.max(given.dead);
        known.moved_out = known.moved_out.max(given.moved_out);
        known.near = known.near.max(near);
        // What is done was acknowledged, even if its file is gone by now.
        known.last = known.last.max(done);
        let after = known.queued_bytes();
        self.queued_bytes = self.queued_bytes.saturating_sub(before).saturating_add(after);
    }

    /// How many records were ever set aside into the lanes of this agent, which have its name and more words.
    pub(crate) fn set_aside(&self, name: &str) -> u64 {
        let is_own = |agent: &&Agent| agent.name.strip_prefix(name).is_some_and(|more| more.starts_with(' '));
        self.agents.iter().filter(is_own).map(|lane| lane.moved_in).sum()
    }

    /// Bytes that wait, of all agents.
    pub(crate) fn queued_bytes(&self) -> u64 {
        self.queued_bytes
    }

    /// The balance sheet of all.
    pub(crate) fn balance(&self) -> Balance {
        Balance::sum(&self.agents)
    }
}

impl Balance {
    /// The balance sheet of several. A record that is being set aside stands in two lanes, and counts once.
    pub(crate) fn sum<'a>(agents: impl IntoIterator<Item = &'a Agent>) -> Self {
        let mut sum = agents.into_iter().map(Agent::balance).fold(Self::default(), |sum, part| Self {
            accepted: sum.accepted.saturating_add(part.accepted),
            delivered: sum.delivered.saturating_add(part.delivered),
            queued: 0,
            dead_lettered: sum.dead_lettered.saturating_add(part.dead_lettered),
        });
        sum.queued = sum.accepted.saturating_sub(sum.delivered.saturating_add(sum.dead_lettered));
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u64) -> Position {
        Position { number, total: number * 100 }
    }

    #[test]
    fn what_is_set_aside_counts_once_at_every_moment() {
        let mut ledger = Ledger::default();
        let check = |ledger: &Ledger, accepted, delivered, queued| {
            let expected = Balance { accepted, delivered, queued, dead_lettered: 0 };
            assert_eq!(ledger.balance(), expected);
        };
        let came = |number| Arrival { position: at(number), ..Arrival::default() };
        ledger.accepted(0, came(1));
        ledger.accepted(0, came(2));
        check(&ledger, 2, 0, 2);
        // It stands in both lanes for a while.
        ledger.accepted(1, Arrival { is_moved: true, origin: 1, ..came(1) });
        assert_eq!(ledger.agent(1).origin, 1);
        let mut crashed = ledger.clone();
        ledger.done(0, at(1), Given { dead: 0, moved_out: 1 }, 1);
        check(&ledger, 2, 0, 2);
        ledger.done(0, at(2), Given { dead: 0, moved_out: 1 }, 1);
        check(&ledger, 2, 1, 1);
        ledger.done(1, at(1), Given::default(), 1);
        check(&ledger, 2, 2, 0);
        crashed.done(0, at(1), Given { dead: 0, moved_out: 1 }, 1);
        check(&crashed, 2, 0, 2);
    }
}
