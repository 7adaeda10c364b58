//! Writes records and marks: a group is on disk before anything in it counts.
//!
//! After a failure nothing more is written to the same file, since a failed fsync may have lost what came before it
//! from the cache. A new file is begun instead, whose head says how much of the old one counts.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{disk::LogFile, quiet::Quiet};

use super::{
    Quota, Refusal,
    frame::{self, FILE_HEAD, FileHead, Fixed, LAST, REPLAYED, REQUEST},
    index::Entry,
    ledger::Position,
    marks::Marks,
    recover::{Found, MARKS},
    store::{Place, Segment, Store},
};

/// When a file is full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Full {
    pub(crate) bytes: u64,
    pub(crate) records: usize,
    /// When the marks are written anew.
    pub(crate) marks_bytes: u64,
}

impl Default for Full {
    fn default() -> Self {
        Self { bytes: 64 << 20, records: 1 << 16, marks_bytes: 8 << 20 }
    }
}

/// A request to be kept.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) agent: String,
    pub(crate) head: Vec<u8>,
    pub(crate) body: Bytes,
    pub(crate) time_ms: u64,
    pub(crate) is_replayed: bool,
}

struct Active {
    file: Box<dyn LogFile>,
    number: u64,
    mark: u32,
    group: u32,
    records: usize,
}

struct MarksFile {
    file: Box<dyn LogFile>,
    mark: u32,
    group: u32,
    bytes: u64,
    fresh_bytes: u64,
}

/// The only one who writes to a queue.
pub(crate) struct Writer {
    store: Arc<Store>,
    full: Full,
    active: Option<Active>,
    marks: Option<MarksFile>,
    sealed: u64,
    highest: u64,
    /// What is durable of how far each agent is.
    durable: HashMap<u32, u64>,
}

impl Writer {
    /// Goes on where recovery ended. The first group begins a new file.
    pub(crate) fn new(store: Arc<Store>, found: &Found, full: Full) -> Self {
        let Found { sealed, highest, .. } = *found;
        Self { store, full, active: None, marks: None, sealed, highest, durable: HashMap::new() }
    }

    /// Which of these requests are more than what may wait.
    pub(crate) fn refusals(&self, group: &[Incoming], quota: Quota) -> Vec<Option<Refusal>> {
        let state = self.store.state();
        let mut all = state.ledger.queued_bytes();
        let mut of_agent: HashMap<&str, u64> = HashMap::new();
        let mut refusals = Vec::with_capacity(group.len());
        for incoming in group {
            let size = (incoming.head.len() + incoming.body.len()) as u64;
            let known = || state.ledger.number(&incoming.agent).and_then(|agent| state.ledger.look(agent));
            let own = of_agent
                .entry(incoming.agent.as_str())
                .or_insert_with(|| known().map_or(0, super::ledger::Agent::queued_bytes));
            // An agent that has nothing here may always send one: else it never could.
            if *own > 0 && *own + size > quota.agent_bytes {
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
        let agents = self.name_agents(group)?;
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
        let mut placed = Vec::with_capacity(group.len());
        let mut buffer = Vec::new();
        let mut written = Ok(());
        for (index, (incoming, agent)) in group.iter().zip(&agents).enumerate() {
            let before = *last.entry(*agent).or_insert_with(|| self.store.state().ledger.agent(*agent).last);
            let mut fixed = Fixed {
                mark: active.mark,
                group: active.group,
                flags: if index + 1 == group.len() { LAST } else { 0 }
                    | if incoming.is_replayed { REPLAYED } else { 0 },
                kind: REQUEST,
                head_bytes: u16::try_from(incoming.head.len()).map_err(io::Error::other)?,
                body_bytes: u32::try_from(incoming.body.len()).map_err(io::Error::other)?,
                agent: *agent,
                number: before.number + 1,
                total: 0,
                time_ms: incoming.time_ms,
            };
            fixed.total = before.total + fixed.record_bytes();
            let position = Position { number: fixed.number, total: fixed.total };
            last.insert(*agent, position);
            buffer.extend_from_slice(&frame::fixed(&fixed, &incoming.head, &incoming.body));
            buffer.extend_from_slice(&incoming.head);
            // A large body is not copied.
            if incoming.body.len() < COPIED {
                buffer.extend_from_slice(&incoming.body);
            } else {
                written = written
                    .and_then(|()| active.file.append(&buffer))
                    .and_then(|()| active.file.append(&incoming.body));
                buffer.clear();
            }
            let record_bytes = fixed.record_bytes();
            let place = Place { at, record_bytes, time_ms: fixed.time_ms };
            placed.push((*agent, position, place, incoming.is_replayed));
            at += record_bytes;
        }
        let written = written.and_then(|()| active.file.append(&buffer)).and_then(|()| active.file.sync());
        if let Err(error) = written {
            if let Some(mut failed) = self.active.take() {
                // So that a crash does not bring back what was told to have failed.
                failed.file.truncate(self.good_bytes_of(failed.number)).ok();
            }
            return Err(error);
        }
        active.records += group.len();
        let number = active.number;
        self.count(number, at, placed);
        Ok(agents)
    }

    fn count(&self, segment: u64, good_bytes: u64, placed: Vec<(u32, Position, Place, bool)>) {
        let mut state = self.store.state();
        for (agent, position, place, is_replayed) in placed {
            state.ledger.accepted(agent, position, is_replayed);
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
            for incoming in group {
                if state.ledger.number(&incoming.agent).is_none() && !new.contains(&incoming.agent.as_str()) {
                    new.push(&incoming.agent);
                }
            }
        }
        if !new.is_empty() {
            let first = self.store.state().ledger.next();
            self.mark(|marks| (first..).zip(&new).for_each(|(agent, name)| marks.name(agent, name)))?;
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
            self.mark(|marks| {
                last.iter().for_each(|(number, agent)| marks.last(*number, agent.last, agent.replayed));
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
        let changed: Vec<_> = {
            let mut state = self.store.state();
            let changed = std::mem::take(&mut state.changed);
            changed.into_iter().map(|agent| (agent, state.ledger.agent(agent))).collect()
        };
        if changed.is_empty() {
            return Ok(());
        }
        let written = self.mark(|marks| {
            changed
                .iter()
                .for_each(|(number, agent)| marks.done(*number, agent.done, agent.dead, agent.near));
        });
        if let Err(error) = written {
            self.store.state().changed.extend(changed.into_iter().map(|(number, _)| number));
            return Err(error);
        }
        self.durable.extend(changed.into_iter().map(|(number, agent)| (number, agent.done.number)));
        let active = self.active.as_ref().map_or(self.highest + 1, |active| active.number);
        self.store.sweep(active, &|agent| self.durable.get(&agent).copied().unwrap_or(0)).map(drop)
    }

    /// Makes marks durable.
    fn mark(&mut self, told: impl FnOnce(&mut Marks)) -> io::Result<()> {
        let is_long = |file: &MarksFile| file.bytes > self.full.marks_bytes.max(file.fresh_bytes * 4);
        if self.marks.as_ref().is_none_or(is_long) {
            self.marks = None;
            self.marks = Some(self.begin_marks()?);
        }
        let Some(file) = &mut self.marks else { return Err(io::ErrorKind::Other.into()) };
        file.group += 1;
        let mut marks = Marks::new(file.mark, file.group);
        told(&mut marks);
        let bytes = marks.end();
        let written = file.file.append(&bytes).and_then(|()| file.file.sync());
        file.bytes += bytes.len() as u64;
        if written.is_err() {
            self.marks = None;
        }
        written
    }

    /// A new file of marks that says everything, in place of the old one.
    fn begin_marks(&mut self) -> io::Result<MarksFile> {
        let mark = fastrand::u32(..);
        let mut bytes = frame::file_head(&FileHead { number: 0, mark, before: 0 });
        let mut marks = Marks::new(mark, 1);
        let done: Vec<_> = {
            let state = self.store.state();
            marks.snapshot(&state.ledger, self.sealed);
            state.ledger.agents().map(|(number, agent)| (number, agent.done.number)).collect()
        };
        bytes.append(&mut marks.end());
        let path = self.store.folder.join(MARKS);
        let new = self.store.folder.join(format!("{MARKS}.new"));
        let made = (|| {
            let mut file = self.store.disk.create(&new)?;
            file.append(&bytes)?;
            file.sync()?;
            self.store.disk.rename(&new, &path)?;
            self.store.disk.sync_folder(&self.store.folder)?;
            Ok(file)
        })();
        match made {
            Ok(file) => {
                self.durable.extend(done);
                let bytes = bytes.len() as u64;
                Ok(MarksFile { file, mark, group: 1, bytes, fresh_bytes: bytes })
            }
            Err(error) => Err(error),
        }
    }
}

/// From this length on a body is written by itself.
const COPIED: usize = 256 << 10;

fn sealed_entry((agent, number): (u32, u64), place: &Place) -> Entry {
    Entry {
        agent,
        number,
        at: u32::try_from(place.at).unwrap_or(u32::MAX),
        record_bytes: u32::try_from(place.record_bytes).unwrap_or(u32::MAX),
        time_s: u32::try_from(place.time_ms / 1000).unwrap_or(u32::MAX),
    }
}
