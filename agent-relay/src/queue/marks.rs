//! Pure. What the file `marks` says: the names of the agents, and how far each has come.
//!
//! Its records are those of `frame`, with kinds of their own. 2: agent `agent` is named as the head says.
//! 3: `agent` is done up to `number` and `total`; `time` is the file where its rest begins at the earliest, the body
//! how many are dead (8 bytes) and how many were set aside (8). 4: the last of `agent` is `number` and `total`, the
//! body how many were put back (8), how many came from another lane (8), and the highest origin (8).
//! 5: the files up to `number` are sealed. 6: the end of a group. 7: the body is the id of the queue (16 bytes).
//! 8: the body says 3 and 4 of several agents, each as eleven numbers of seven bits a byte, the lowest first (LEB128):
//! the agent, its last number and total, how many were put back, how many came from another lane, the highest origin,
//! how far it is done by number and total, the file where its rest begins, how many are dead, how many were set aside.
//! All of them are absolute, so that a part may be missing or come twice.

use super::{
    frame::{self, Fixed, LAST as LAST_OF_GROUP, RECORD, Record},
    ledger::{Agent, Given, Ledger, Moved, Position},
};

const NAME: u8 = 2;
const DONE: u8 = 3;
const LAST: u8 = 4;
const SEALED: u8 = 5;
const END: u8 = 6;
const ID: u8 = 7;
const SEVERAL: u8 = 8;

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

    /// How far several agents are.
    pub(crate) fn several<'a>(&mut self, agents: impl IntoIterator<Item = (u32, &'a Agent)>) {
        let mut body = Vec::new();
        for (number, agent) in agents {
            let Agent { last, done, dead, moved_out, replayed, moved_in, origin, near, .. } = agent;
            let numbers = [
                u64::from(number),
                last.number,
                last.total,
                *replayed,
                *moved_in,
                *origin,
                done.number,
                done.total,
                *near,
                *dead,
                *moved_out,
            ];
            numbers.into_iter().for_each(|number| put_number(&mut body, number));
        }
        self.push(Fixed { kind: SEVERAL, ..Fixed::default() }, &[], &body);
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

/// How many bytes [`Marks::snapshot`] makes, with the end of its group.
pub(crate) fn snapshot_bytes(ledger: &Ledger) -> u64 {
    const OF_AGENT: usize = 3 * RECORD + 3 * 8 + 2 * 8;
    const OF_QUEUE: usize = 3 * RECORD + 16;
    (OF_QUEUE + ledger.next() as usize * OF_AGENT + ledger.names_bytes()) as u64
}

fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(0x80 | u8::try_from(number & 0x7f).unwrap_or_default());
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap_or_default());
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f).checked_shl(shift)?;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Takes up what is said of several agents; what cannot be read ends it.
fn apply_several(mut body: &[u8], ledger: &mut Ledger) -> Option<()> {
    while !body.is_empty() {
        let mut next = || take_number(&mut body);
        let agent = u32::try_from(next()?).ok()?;
        let last = Position { number: next()?, total: next()? };
        let moved = Moved { replayed: next()?, moved_in: next()?, origin: next()? };
        let done = Position { number: next()?, total: next()? };
        let near = next()?;
        let given = Given { dead: next()?, moved_out: next()? };
        ledger.recall_last(agent, last, moved);
        ledger.done(agent, done, given, near);
    }
    Some(())
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
        SEVERAL => {
            apply_several(record.body, ledger);
        }
        SEALED => return Some(number),
        ID => ledger.id = record.body.try_into().map_or(ledger.id, u128::from_le_bytes),
        _ => {}
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn agent(numbers: &[u64]) -> Agent {
        let at = |index: usize| numbers[index];
        Agent {
            last: Position { number: at(0).max(at(5)), total: at(1).max(at(6)) },
            replayed: at(2),
            moved_in: at(3),
            origin: at(4),
            done: Position { number: at(5), total: at(6) },
            near: at(7),
            dead: at(8),
            moved_out: at(9),
            ..Agent::default()
        }
    }

    proptest! {
        #[test]
        fn what_is_said_of_several_at_once_is_what_is_said_of_each(
            told in prop::collection::vec((0_u32..9, prop::collection::vec(0_u64..1 << 40, 10)), 0..9)
        ) {
            let told: Vec<_> = told.iter().map(|(number, numbers)| (*number, agent(numbers))).collect();
            let read = |marks: Marks| {
                let mut ledger = Ledger::default();
                for (_, record) in frame::read(&marks.end(), 0, 7).records {
                    apply(&record, &mut ledger);
                }
                ledger.agents().map(|(_, agent)| agent.clone()).collect::<Vec<_>>()
            };
            let (mut each, mut together) = (Marks::new(7, 1), Marks::new(7, 1));
            for (number, agent) in &told {
                each.last(*number, agent);
                each.done(*number, agent);
            }
            together.several(told.iter().map(|(number, agent)| (*number, agent)));
            prop_assert_eq!(read(each), read(together));
        }

        #[test]
        fn it_is_known_before_how_long_a_snapshot_is(
            named in prop::collection::vec((0_u32..9, "[a-z ]{0,9}"), 0..20)
        ) {
            let mut ledger = Ledger::default();
            named.iter().for_each(|(agent, name)| ledger.name(*agent, name));
            let mut marks = Marks::new(7, 1);
            marks.snapshot(&ledger, 3);
            prop_assert_eq!(marks.end().len() as u64, snapshot_bytes(&ledger));
        }

        #[test]
        fn no_bytes_are_too_much(
            body in prop::collection::vec(any::<u8>(), 0..60), told in prop::collection::vec(any::<u64>(), 0..30)
        ) {
            let mut ledger = Ledger::default();
            apply_several(&body, &mut ledger);
            let mut body = Vec::new();
            for (index, number) in told.iter().enumerate() {
                // Two agents, of whom anything is said.
                put_number(&mut body, if index.is_multiple_of(11) { number % 2 } else { *number });
            }
            apply_several(&body, &mut ledger);
            ledger.balance();
        }

        #[test]
        fn a_number_is_read_back(number in any::<u64>(), behind in any::<u8>()) {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            bytes.push(behind);
            let mut rest = &bytes[..];
            prop_assert_eq!(take_number(&mut rest), Some(number));
            prop_assert_eq!(rest, [behind]);
        }
    }
}
