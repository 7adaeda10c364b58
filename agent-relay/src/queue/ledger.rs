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
    /// Records that are dead letters put back.
    pub(crate) replayed: u64,
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
            accepted: self.last.number.saturating_sub(self.replayed),
            delivered: self.done.number.saturating_sub(self.dead),
            queued: self.queued(),
            dead_lettered: self.dead.saturating_sub(self.replayed),
        }
    }
}

/// All agents, by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    agents: Vec<Agent>,
    numbers: HashMap<String, u32>,
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
        name.clone_into(&mut named.name);
        self.numbers.insert(name.to_owned(), agent);
    }

    fn at(&mut self, agent: u32) -> &mut Agent {
        /// Beyond this a number is nonsense, whatever its checksum says.
        const MOST_AGENTS: usize = 1 << 24;
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

    /// A record was acknowledged, or is found to have been. Those that were known before change nothing.
    pub(crate) fn accepted(&mut self, agent: u32, last: Position, is_replayed: bool) {
        let known = self.at(agent);
        if last.number > known.last.number {
            let more = last.total.saturating_sub(known.last.total.max(known.done.total));
            known.last = last;
            known.replayed += u64::from(is_replayed);
            self.queued_bytes += more;
        }
    }

    /// What was written down of an agent: its last record and how many of all were put back.
    pub(crate) fn recall_last(&mut self, agent: u32, last: Position, replayed: u64) {
        let known = self.at(agent);
        if last.number >= known.last.number {
            let before = known.queued_bytes();
            known.last = last;
            known.replayed = known.replayed.max(replayed);
            let after = known.queued_bytes();
            self.queued_bytes = self.queued_bytes - before + after;
        }
    }

    /// Everything up to `done` is delivered or dead; `dead` of all are dead, and the rest is not before file `near`.
    pub(crate) fn done(&mut self, agent: u32, done: Position, dead: u64, near: u64) {
        let known = self.at(agent);
        if done.number < known.done.number {
            return;
        }
        let before = known.queued_bytes();
        known.done = done;
        known.dead = known.dead.max(dead);
        known.near = known.near.max(near);
        // What is done was acknowledged, even if its file is gone by now.
        known.last = known.last.max(done);
        let after = known.queued_bytes();
        self.queued_bytes = self.queued_bytes - before + after;
    }

    /// Bytes that wait, of all agents.
    pub(crate) fn queued_bytes(&self) -> u64 {
        self.queued_bytes
    }

    /// The balance sheet of all.
    pub(crate) fn balance(&self) -> Balance {
        self.agents.iter().map(Agent::balance).fold(Balance::default(), |sum, part| Balance {
            accepted: sum.accepted + part.accepted,
            delivered: sum.delivered + part.delivered,
            queued: sum.queued + part.queued,
            dead_lettered: sum.dead_lettered + part.dead_lettered,
        })
    }
}
