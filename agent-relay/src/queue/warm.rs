//! Pure. The next records of agents, in memory: what came a moment ago, or was read ahead, is not read from disk.

use std::collections::HashMap;

use bytes::Bytes;

use super::ledger::Position;
use crate::content::Content;

/// What an entry takes beside its bytes, about.
const BESIDE: u64 = 200;

/// A record as it stands in its file.
#[derive(Clone, Debug)]
pub(super) struct Warm {
    pub(super) position: Position,
    /// The file that it stands in.
    pub(super) segment: u64,
    pub(super) time_ms: u64,
    pub(super) head: Bytes,
    pub(super) body: Content,
}

impl Warm {
    /// The memory that it takes.
    pub(super) fn bytes(&self) -> u64 {
        self.head.len() as u64 + self.body.len() + BESIDE
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Hearth {
    most_bytes: u64,
    bytes: u64,
    agents: HashMap<u32, Vec<Warm>>,
}

impl Hearth {
    /// So much of it from now on.
    pub(super) fn limit(&mut self, most_bytes: u64) {
        self.most_bytes = most_bytes;
    }

    /// Whether this may be kept. What is there already stays: it is wanted before what comes now.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.bytes + bytes <= self.most_bytes
    }

    /// Keeps a record, if there is room.
    pub(super) fn put(&mut self, agent: u32, warm: Warm) {
        let bytes = warm.bytes();
        if self.has_room(bytes) {
            self.bytes += bytes;
            self.agents.entry(agent).or_default().push(warm);
        }
    }

    /// The record of this number.
    pub(super) fn get(&self, agent: u32, number: u64) -> Option<&Warm> {
        self.agents.get(&agent)?.iter().find(|warm| warm.position.number == number)
    }

    /// The records up to this one are done.
    pub(super) fn done(&mut self, agent: u32, number: u64) {
        let Some(warm) = self.agents.get_mut(&agent) else { return };
        for gone in warm.extract_if(.., |warm| warm.position.number <= number) {
            self.bytes -= gone.bytes();
        }
        if warm.is_empty() {
            self.agents.remove(&agent);
        }
    }

    /// What waits for long is not kept.
    pub(super) fn forget(&mut self, agent: u32) {
        self.done(agent, u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warm(number: u64) -> Warm {
        let body = Bytes::from(vec![b'x'; 100]).into();
        let position = Position { number, total: number };
        Warm { position, segment: 1, time_ms: 1, head: Bytes::new(), body }
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for_and_what_is_done_makes_room() {
        let mut hearth = Hearth::default();
        hearth.put(1, warm(1));
        assert!(hearth.get(1, 1).is_none(), "nothing without a limit");
        hearth.limit(warm(1).bytes() * 3);
        for number in 1..=4 {
            hearth.put(1, warm(number));
        }
        let there =
            |hearth: &Hearth| (1..=4).map(|number| hearth.get(1, number).is_some()).collect::<Vec<_>>();
        assert_eq!(there(&hearth), [true, true, true, false]);
        assert!(hearth.get(2, 1).is_none());
        hearth.done(1, 2);
        assert_eq!(there(&hearth), [false, false, true, false]);
        hearth.put(1, warm(4));
        assert_eq!(there(&hearth), [false, false, true, true]);
        hearth.forget(1);
        assert_eq!((hearth.bytes, hearth.agents.len()), (0, 0));
    }
}
