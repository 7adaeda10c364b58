//! Pure. What the file `marks` says: the names of the agents, and how far each has come.
//!
//! Its records are those of `frame`, with kinds of their own. 2: agent `agent` is named as the head says.
//! 3: `agent` is done up to `number` and `total`; `time` is the file where its rest begins at the earliest, the body
//! how many are dead (8 bytes) and how many were set aside (8). 4: the last of `agent` is `number` and `total`, the
//! body how many were put back (8), how many came from another lane (8), and the highest origin (8).
//! 5: the files up to `number` are sealed. 6: the end of a group. 7: the body is the id of the queue (16 bytes).
//! All of them are absolute, so that a part may be missing or come twice.

use super::{
    frame::{self, Fixed, LAST as LAST_OF_GROUP, Record},
    ledger::{Agent, Given, Ledger, Moved, Position},
};

const NAME: u8 = 2;
const DONE: u8 = 3;
const LAST: u8 = 4;
const SEALED: u8 = 5;
const END: u8 = 6;
const ID: u8 = 7;

/// Puts marks into bytes, for one group of one file.
pub(crate) struct Marks {
    mark: u32,
    group: u32,
    bytes: Vec<u8>,
}

impl Marks {
    /// A group with nothing in it.
    pub(crate) fn new(mark: u32, group: u32) -> Self {
        Self { mark, group, bytes: Vec::new() }
    }

    fn push(&mut self, fixed: Fixed, head: &[u8], body: &[u8]) {
        let head = head.get(..head.len().min(usize::from(u16::MAX))).unwrap_or_default();
        let fixed = Fixed {
            mark: self.mark,
            group: self.group,
            head_bytes: u16::try_from(head.len()).unwrap_or(u16::MAX),
            body_bytes: u32::try_from(body.len()).unwrap_or(u32::MAX),
            ..fixed
        };
        self.bytes.extend_from_slice(&frame::record(&fixed, head, body));
    }

    pub(crate) fn name(&mut self, agent: u32, name: &str) {
        self.push(Fixed { kind: NAME, agent, ..Fixed::default() }, name.as_bytes(), &[]);
    }

    pub(crate) fn done(&mut self, number: u32, agent: &Agent) {
        let Position { number: last, total } = agent.done;
        let fixed =
            Fixed { kind: DONE, agent: number, number: last, total, time_ms: agent.near, ..Fixed::default() };
        self.push(fixed, &[], &numbers([agent.dead, agent.moved_out]));
    }

    pub(crate) fn last(&mut self, number: u32, agent: &Agent) {
        let Position { number: last, total } = agent.last;
        let fixed = Fixed { kind: LAST, agent: number, number: last, total, ..Fixed::default() };
        self.push(fixed, &[], &numbers([agent.replayed, agent.moved_in, agent.origin]));
    }

    pub(crate) fn sealed(&mut self, number: u64) {
        self.push(Fixed { kind: SEALED, number, ..Fixed::default() }, &[], &[]);
    }

    /// The bytes of the whole group.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.push(Fixed { kind: END, flags: LAST_OF_GROUP, ..Fixed::default() }, &[], &[]);
        self.bytes
    }

    /// Everything that a ledger knows. What is queued and not sealed stands in the files themselves.
    pub(crate) fn snapshot(&mut self, ledger: &Ledger, sealed: u64) {
        self.push(Fixed { kind: ID, ..Fixed::default() }, &[], &ledger.id.to_le_bytes());
        for (number, agent) in ledger.agents() {
            self.name(number, &agent.name);
            self.last(number, agent);
            self.done(number, agent);
        }
        self.sealed(sealed);
    }
}

fn numbers<const N: usize>(numbers: [u64; N]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Takes up one mark; returns the file that it says is sealed.
pub(crate) fn apply(record: &Record<'_>, ledger: &mut Ledger) -> Option<u64> {
    let Fixed { agent, number, total, time_ms, .. } = record.fixed;
    let position = Position { number, total };
    let told = |at: usize| record.body.get(at * 8..at * 8 + 8)?.try_into().ok().map(u64::from_le_bytes);
    match record.fixed.kind {
        NAME => ledger.name(agent, &String::from_utf8_lossy(record.head)),
        DONE => {
            let (Some(dead), Some(moved_out)) = (told(0), told(1)) else { return None };
            ledger.done(agent, position, Given { dead, moved_out }, time_ms);
        }
        LAST => {
            let (Some(replayed), Some(moved_in), Some(origin)) = (told(0), told(1), told(2)) else {
                return None;
            };
            ledger.recall_last(agent, position, Moved { replayed, moved_in, origin });
        }
        SEALED => return Some(number),
        ID => ledger.id = record.body.try_into().map_or(ledger.id, u128::from_le_bytes),
        _ => {}
    }
    None
}
