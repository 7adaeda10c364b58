//! Writes records and marks: a group is on disk before anything in it counts.
//!
//! After a failure nothing more is written to the same file, since a failed fsync may have lost what came before it
//! from the cache. A new file is begun instead, whose head says how much of the old one counts.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{disk::LogFile, quiet::Quiet};

use super::{
    Quota, Refusal,
    compact::Worth,
    frame::{self, FILE_HEAD, FileHead, Fixed, LAST, MOVED, ORIGIN, REPLAYED, REQUEST},
    index::Entry,
    ledger::{Arrival, Position},
    marking::Marking,
    recover::Found,
    store::{Place, Segment, Store, WHOLE},
    warm::Warm,
};
use crate::content::Content;

/// When a file is full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Full {
    pub(crate) bytes: u64,
    pub(crate) records: usize,
    /// When the marks are written anew.
    pub(crate) marks_bytes: u64,
    /// So much at least is kept free for marks.
    pub(crate) reserve_bytes: u64,
    /// When a file of which little is needed is made small.
    pub(crate) worth: Worth,
}

impl Default for Full {
    fn default() -> Self {
        let worth = Worth { after: Duration::from_secs(60), bytes: 1 << 20 };
        Self { bytes: 64 << 20, records: 1 << 16, marks_bytes: 8 << 20, reserve_bytes: 1 << 20, worth }
    }
}

/// A request to be kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Incoming {
    pub(crate) agent: String,
    pub(crate) head: Bytes,
    pub(crate) body: Content,
    pub(crate) time_ms: u64,
    /// It is a dead letter that is put back.
    pub(crate) is_replayed: bool,
    /// It comes from another lane of the same queue.
    pub(crate) is_moved: bool,
    /// Its number where it comes from; it is not kept when its lane has had this one or a later one.
    pub(crate) origin: Option<u64>,
}

impl Incoming {
    /// The head as it stands in the record.
    fn whole_head(&self) -> Vec<u8> {
        let origin = self.origin.map(u64::to_le_bytes);
        [origin.as_ref().map_or(&[][..], |bytes| bytes), &self.head].concat()
    }

    fn flags(&self) -> u8 {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        flag(self.is_replayed, REPLAYED) | flag(self.is_moved, MOVED) | flag(self.origin.is_some(), ORIGIN)
    }
}

struct Active {
    file: Box<dyn LogFile>,
    number: u64,
    mark: u32,
    group: u32,
    records: usize,
}

/// The only one who writes to a queue.
pub(crate) struct Writer {
    store: Arc<Store>,
    full: Full,
    active: Option<Active>,
    pub(super) marking: Marking,
    sealed: u64,
    highest: u64,
    has_swept: bool,
    /// What is to be written, kept for the next time.
    buffer: Vec<u8>,
}

impl Writer {
    /// Goes on where recovery ended. The first group begins a new file.
    pub(crate) fn new(store: Arc<Store>, found: &Found, full: Full) -> Self {
        let Found { sealed, highest, .. } = *found;
        let marking = Marking::new(&store, full.marks_bytes, full.reserve_bytes);
        Self { store, full, active: None, marking, sealed, highest, has_swept: false, buffer: Vec::new() }
    }

    /// Which of these requests are more than what may wait.
    pub(crate) fn refusals(&self, group: &[Incoming], quota: Quota) -> Vec<Option<Refusal>> {
        let state = self.store.state();
        let mut all = state.ledger.queued_bytes();
        let mut of_agent: HashMap<&str, u64> = HashMap::new();
        let mut refusals = Vec::with_capacity(group.len());
        for incoming in group {
            let size = incoming.head.len() as u64 + incoming.body.len();
            let known = || state.ledger.number(&incoming.agent).and_then(|agent| state.ledger.look(agent));
            let own = of_agent
                .entry(incoming.agent.as_str())
                .or_insert_with(|| known().map_or(0, super::ledger::Agent::queued_bytes));
            // What stands elsewhere in the queue was accepted already.
            if incoming.is_moved {
                refusals.push(None);
            // An agent that has nothing here may always send one: else it never could.
            } else if *own > 0 && *own + size > quota.agent_bytes {
                refusals.push(Some(Refusal::AgentFull));
            } else if all + size > quota.bytes {
                refusals.push(Some(Refusal::QueueFull));
            } else {
                *own += size;
                all += size;
                refusals.push(None);
            }
        }
        refusals
    }

    /// Makes these requests durable, all or none; returns the number of the agent of each.
    pub(crate) fn append(&mut self, group: &[Incoming]) -> io::Result<Vec<u32>> {
        let is_long =
            |i: &&Incoming| u16::try_from(i.head.len() + 8).is_err() || u32::try_from(i.body.len()).is_err();
        if group.iter().find(is_long).is_some() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.marking.reserve(&self.store)?;
        let agents = self.name_agents(group)?;
        let fresh = self.fresh(group, &agents);
        if fresh.is_empty() {
            return Ok(agents);
        }
        let is_full =
            |active: &Active, good: u64| good >= self.full.bytes || active.records >= self.full.records;
        let good_bytes = self.good_bytes();
        if self.active.as_ref().is_some_and(|active| is_full(active, good_bytes)) {
            self.active = None;
        }
        if self.active.is_none() {
            self.begin()?;
        }
        let Some(active) = &mut self.active else { return Err(io::ErrorKind::Other.into()) };
        active.group += 1;
        let mut at = self.store.state().segments.get(&active.number).map_or(0, |known| known.good_bytes);
        let mut last: BTreeMap<u32, Position> = BTreeMap::new();
        let mut placed = Vec::with_capacity(fresh.len());
        let mut written = Ok(());
        self.buffer.clear();
        for (index, (incoming, agent)) in fresh.iter().enumerate() {
            let before = *last.entry(*agent).or_insert_with(|| self.store.state().ledger.agent(*agent).last);
            let head = incoming.whole_head();
            let mut fixed = Fixed {
                mark: active.mark,
                group: active.group,
                flags: incoming.flags() | if index + 1 == fresh.len() { LAST } else { 0 },
                kind: REQUEST,
                head_bytes: u16::try_from(head.len()).unwrap_or(u16::MAX),
                body_bytes: u32::try_from(incoming.body.len()).unwrap_or(u32::MAX),
                agent: *agent,
                number: before.number + 1,
                total: 0,
                time_ms: incoming.time_ms,
            };
            fixed.total = before.total + fixed.record_bytes();
            let position = Position { number: fixed.number, total: fixed.total };
            last.insert(*agent, position);
            written = written
                .and_then(|()| put(&fixed, &head, &incoming.body, &mut self.buffer, &mut *active.file));
            let record_bytes = fixed.record_bytes();
            let place = Place { at, record_bytes, time_ms: fixed.time_ms };
            let arrival = Arrival {
                position,
                is_replayed: incoming.is_replayed,
                is_moved: incoming.is_moved,
                origin: incoming.origin.unwrap_or(0),
            };
            placed.push((*agent, arrival, place, *incoming));
            at += record_bytes;
        }
        let written =
            written.and_then(|()| active.file.append(&self.buffer)).and_then(|()| active.file.sync());
        if let Err(error) = written {
            self.give_up();
            return Err(error);
        }
        active.records += fresh.len();
        let number = active.number;
        self.count(number, at, placed);
        Ok(agents)
    }

    /// Nothing more is written to the active file, and a crash does not bring back what was told to have failed.
    fn give_up(&mut self) {
        let Some(mut failed) = self.active.take() else { return };
        let (number, good_bytes) = (failed.number, self.good_bytes_of(failed.number));
        failed.file.truncate(good_bytes).ok();
        // One that holds nothing is not left behind at every try; the next one gets its number.
        if good_bytes == FILE_HEAD as u64 && self.store.disk.remove(&self.store.segment_path(number)).is_ok()
        {
            self.store.state().segments.remove(&number);
            self.highest = number - 1;
        }
    }

    /// Those that did not come already.
    fn fresh<'a>(&self, group: &'a [Incoming], agents: &[u32]) -> Vec<(&'a Incoming, u32)> {
        let state = self.store.state();
        let mut origins: HashMap<u32, u64> = HashMap::new();
        let mut is_fresh = |incoming: &Incoming, agent: u32| {
            let Some(origin) = incoming.origin else { return true };
            let known = || state.ledger.look(agent).map_or(0, |agent| agent.origin);
            let last = origins.entry(agent).or_insert_with(known);
            let is_later = origin > *last;
            *last = origin.max(*last);
            is_later
        };
        let pairs = group.iter().zip(agents.iter().copied());
        pairs.filter(|(incoming, agent)| is_fresh(incoming, *agent)).collect()
    }

    fn count(&self, segment: u64, good_bytes: u64, placed: Vec<(u32, Arrival, Place, &Incoming)>) {
        let mut state = self.store.state();
        for (agent, arrival, place, incoming) in placed {
            let position = arrival.position;
            if incoming.body.len() < WHOLE {
                let (head, body, time_ms) = (incoming.head.clone(), incoming.body.clone(), place.time_ms);
                state.hearth.put(agent, Warm { position, segment, time_ms, head, body });
            }
            state.ledger.accepted(agent, arrival);
            let entries = state.segments.get_mut(&segment).and_then(|known| known.entries.as_mut());
            if let Some(entries) = entries {
                entries.insert((agent, position.number), place);
            }
        }
        if let Some(known) = state.segments.get_mut(&segment) {
            known.good_bytes = good_bytes;
        }
    }

    fn good_bytes_of(&self, segment: u64) -> u64 {
        self.store.state().segments.get(&segment).map_or(0, |known| known.good_bytes)
    }

    fn good_bytes(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| self.good_bytes_of(active.number))
    }

    /// Names agents that are new, durably.
    fn name_agents(&mut self, group: &[Incoming]) -> io::Result<Vec<u32>> {
        let mut new: Vec<&str> = Vec::new();
        {
            let state = self.store.state();
            let mut known = HashSet::new();
            for incoming in group.iter().filter(|i| state.ledger.number(&i.agent).is_none()) {
                if known.insert(incoming.agent.as_str()) {
                    new.push(&incoming.agent);
                }
            }
        }
        if !new.is_empty() {
            let first = self.store.state().ledger.next();
            self.marking.mark(&self.store, self.sealed, &|marks| {
                (first..).zip(&new).for_each(|(agent, name)| marks.name(agent, name));
            })?;
            let mut state = self.store.state();
            (first..).zip(&new).for_each(|(agent, name)| state.ledger.name(agent, name));
        }
        let state = self.store.state();
        let number = |incoming: &Incoming| state.ledger.number(&incoming.agent);
        group.iter().map(|incoming| number(incoming).ok_or(io::ErrorKind::Other.into())).collect()
    }

    /// Begins a new file of records, after those before it are sealed as far as they can be.
    fn begin(&mut self) -> io::Result<()> {
        static QUIET: Quiet = Quiet::new(Duration::from_secs(10));
        if let Err(error) = self.seal()
            && let Some(suppressed) = QUIET.speak(Instant::now())
        {
            // They stay in memory, and are sealed with the next one.
            tracing::warn!(%error, suppressed, "a queue file was not sealed");
        }
        let before = self.store.state().segments.get(&self.highest).map_or(0, |known| known.good_bytes);
        let number = self.highest + 1;
        let head = FileHead { number, mark: fastrand::u32(..), before };
        let path = self.store.segment_path(number);
        let made = (|| {
            let mut file = self.store.disk.create(&path)?;
            file.append(&frame::file_head(&head))?;
            file.sync()?;
            self.store.disk.sync_folder(&self.store.folder)?;
            Ok::<_, io::Error>(file)
        })();
        let file = match made {
            Ok(file) => file,
            Err(error) => {
                self.store.disk.remove(&path).ok();
                return Err(error);
            }
        };
        self.highest = number;
        let segment =
            Segment { good_bytes: FILE_HEAD as u64, entries: Some(BTreeMap::new()), ..Segment::default() };
        self.store.state().segments.insert(number, segment);
        self.active = Some(Active { file, number, mark: head.mark, group: 0, records: 0 });
        Ok(())
    }

    /// Seals every file of records that is not written to any more.
    fn seal(&mut self) -> io::Result<()> {
        let active = self.active.as_ref().map_or(u64::MAX, |active| active.number);
        let open: Vec<u64> = {
            let state = self.store.state();
            let open =
                state.segments.iter().filter(|(number, known)| known.entries.is_some() && **number != active);
            open.map(|(number, _)| *number).collect()
        };
        for number in open {
            let entries: Vec<Entry> = {
                let state = self.store.state();
                let entries = state.segments.get(&number).and_then(|known| known.entries.as_ref());
                entries.into_iter().flatten().map(|(key, place)| sealed_entry(*key, place)).collect()
            };
            self.store.write_index(number, &entries)?;
            let last: Vec<_> = {
                let state = self.store.state();
                let mut agents: Vec<_> = entries.iter().map(|entry| entry.agent).collect();
                agents.dedup();
                agents.into_iter().map(|agent| (agent, state.ledger.agent(agent))).collect()
            };
            self.marking.mark(&self.store, self.sealed, &|marks| {
                last.iter().for_each(|(number, agent)| marks.last(*number, agent));
                marks.sealed(number);
            })?;
            self.sealed = self.sealed.max(number);
            if let Some(known) = self.store.state().segments.get_mut(&number) {
                known.entries = None;
            }
        }
        Ok(())
    }

    /// Writes down what is done since the last time, and removes the files that nobody needs.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        let (changed, unsettled) = {
            let mut state = self.store.state();
            (std::mem::take(&mut state.changed), std::mem::take(&mut state.unsettled))
        };
        if changed.is_empty() && self.has_swept {
            return Ok(());
        }
        let changed: Vec<u32> = changed.into_iter().collect();
        if !changed.is_empty()
            && let Err(error) = self.marking.settle(&self.store, self.sealed, &changed)
        {
            let mut state = self.store.state();
            state.changed.extend(changed);
            state.unsettled += unsettled;
            return Err(error);
        }
        let active = self.active.as_ref().map_or(self.highest + 1, |active| active.number);
        self.store.sweep(active, &|agent| self.marking.durable(agent), self.full.worth)?;
        self.has_swept = true;
        Ok(())
    }
}

/// So much is written at once, about.
const AT_ONCE: usize = 1 << 20;

/// Writes a record: into the buffer, and from there into the file whenever there is enough.
fn put(
    fixed: &Fixed,
    head: &[u8],
    body: &Content,
    buffer: &mut Vec<u8>,
    file: &mut dyn LogFile,
) -> io::Result<()> {
    let mut bytes = frame::unsummed(fixed);
    let mut sum = frame::begin(&bytes, head);
    body.each(&mut |part| {
        sum.update(part);
        Ok(())
    })?;
    frame::end(&mut bytes, sum);
    buffer.extend_from_slice(&bytes);
    buffer.extend_from_slice(head);
    body.each(&mut |part| {
        if buffer.len() + part.len() > AT_ONCE {
            file.append(buffer)?;
            buffer.clear();
        }
        buffer.extend_from_slice(part);
        Ok(())
    })
}

fn sealed_entry((agent, number): (u32, u64), place: &Place) -> Entry {
    Entry {
        agent,
        number,
        at: u32::try_from(place.at).unwrap_or(u32::MAX),
        record_bytes: u32::try_from(place.record_bytes).unwrap_or(u32::MAX),
        time_s: u32::try_from(place.time_ms / 1000).unwrap_or(u32::MAX),
    }
}
