//! Pure. What the file `marks` says: the names of the agents, and how far each has come.
//!
//! Its records are those of `frame`, with kinds of their own. 2: agent `agent` is named as the head says.
//! 3: `agent` is done up to `number` and `total`; `time` is the file where its rest begins at the earliest, the body
//! how many are dead (8 bytes). 4: the last of `agent` is `number` and `total`, the body how many were put back (8).
//! 5: the files up to `number` are sealed. 6: the end of a group. All of them are absolute, so that a part may be missing or come twice.

use super::{
    frame::{self, Fixed, LAST as LAST_OF_GROUP, Record},
    ledger::{Ledger, Position},
};

const NAME: u8 = 2;
const DONE: u8 = 3;
const LAST: u8 = 4;
const SEALED: u8 = 5;
const END: u8 = 6;

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

    pub(crate) fn done(&mut self, agent: u32, done: Position, dead: u64, near: u64) {
        let Position { number, total } = done;
        let fixed = Fixed { kind: DONE, agent, number, total, time_ms: near, ..Fixed::default() };
        self.push(fixed, &[], &dead.to_le_bytes());
    }

    pub(crate) fn last(&mut self, agent: u32, last: Position, replayed: u64) {
        let Position { number, total } = last;
        let fixed = Fixed { kind: LAST, agent, number, total, ..Fixed::default() };
        self.push(fixed, &[], &replayed.to_le_bytes());
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
        for (number, agent) in ledger.agents() {
            self.name(number, &agent.name);
            self.done(number, agent.done, agent.dead, agent.near);
            self.last(number, agent.last, agent.replayed);
        }
        self.sealed(sealed);
    }
}

/// Takes up one mark; returns the file that it says is sealed.
pub(crate) fn apply(record: &Record<'_>, ledger: &mut Ledger) -> Option<u64> {
    let Fixed { agent, number, total, time_ms, .. } = record.fixed;
    let position = Position { number, total };
    let count = record.body.try_into().map(u64::from_le_bytes);
    match (record.fixed.kind, count) {
        (NAME, _) => ledger.name(agent, &String::from_utf8_lossy(record.head)),
        (DONE, Ok(dead)) => ledger.done(agent, position, dead, time_ms),
        (LAST, Ok(replayed)) => ledger.recall_last(agent, position, replayed),
        (SEALED, _) => return Some(number),
        _ => {}
    }
    None
}
