//! The files of a queue, and what is known of them in memory: for a sealed file next to nothing.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{
    disk::{Disk, ReadAt},
    quiet::Quiet,
};

use super::{
    budget::{Budget, Share},
    frame::{self, Fixed, Record},
    index::{self, Entry},
    ledger::{Agent, Given, Ledger, Position},
    warm::{Hearth, Warm},
};
use crate::{content::Content, pieces::PIECE};

/// Where a record stands in a file that has no index yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) at: u64,
    pub(super) record_bytes: u64,
    pub(super) time_ms: u64,
}

/// One file of records.
#[derive(Debug, Default)]
pub(super) struct Segment {
    /// Up to where it is good.
    pub(super) good_bytes: u64,
    /// Its records, until it is sealed.
    pub(super) entries: Option<BTreeMap<(u32, u64), Place>>,
    /// Whether its index was found to be whole.
    pub(super) checked: bool,
    /// A record that is known to be needed yet.
    pub(super) needed: Option<(u32, u64)>,
    /// And since when it is this one.
    pub(super) needed_since: Option<Instant>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) ledger: Ledger,
    pub(super) segments: BTreeMap<u64, Segment>,
    /// What changed since it was last written down.
    pub(super) changed: HashSet<u32>,
    /// How many records are done since then: so many would be sent again after a crash.
    pub(super) unsettled: u64,
    /// What is delivered next.
    pub(super) hearth: Hearth,
}

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The other side took it.
    Delivered,
    /// It is a dead letter.
    Dead,
    /// It stands in another lane.
    Moved,
}

/// See the module. Shared by who writes and who reads.
pub(crate) struct Store {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) folder: PathBuf,
    pub(super) state: Mutex<State>,
    pub(super) budget: Arc<Budget>,
    /// Files that were read lately.
    pub(super) open: Mutex<HashMap<PathBuf, Arc<dyn ReadAt>>>,
    /// Held to read while an index and its file have to be of one kind, and to write while they are not.
    pub(super) layout: RwLock<()>,
}

/// A record that was read back.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) position: Position,
    /// The file that it stands in.
    pub(crate) segment: u64,
    pub(crate) time_ms: u64,
    pub(crate) head: Bytes,
    pub(crate) body: Content,
    /// The memory that it takes.
    pub(super) _share: Share,
}

/// Memory for bodies on their way out.
pub(super) const MEMORY_BYTES: u64 = 16 << 20;
/// A record that is longer is not read as a whole.
pub(super) const WHOLE: u64 = 256 << 10;
/// So many records of an agent are read at once, if there is room for them.
const AHEAD: usize = 16;
/// So many files are kept open to be read.
const MOST_OPEN: usize = 64;

/// What comes next for an agent.
#[derive(Debug)]
pub(crate) enum Next {
    /// This record.
    Record(Stored),
    /// Records up to this one are not readable any more.
    Lost(Position, u64),
    /// Nothing.
    Empty,
    /// There is no memory for it just now.
    Busy,
}

impl Store {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn segment_path(&self, number: u64) -> PathBuf {
        segment_path(&self.folder, number)
    }

    pub(super) fn index_path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:016}.idx"))
    }

    /// The first record of an agent that is not done, if it is in memory.
    pub(crate) fn warm(&self, agent: u32) -> Option<Stored> {
        let warm = {
            let state = self.state();
            let done = state.ledger.look(agent)?.done.number;
            state.hearth.get(agent, done + 1)?.clone()
        };
        let share = self.budget.take(warm.bytes())?;
        let Warm { position, segment, time_ms, head, body } = warm;
        Some(Stored { position, segment, time_ms, head, body, _share: share })
    }

    /// A file of a segment to read from, which stays open for a while.
    fn file(&self, segment: u64, path: PathBuf) -> io::Result<Arc<dyn ReadAt>> {
        let open = || self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open().get(&path) {
            return Ok(Arc::clone(file));
        }
        let file = self.disk.open(&path)?;
        let mut open = open();
        if open.len() >= MOST_OPEN {
            open.clear();
        }
        open.insert(path, Arc::clone(&file));
        drop(open);
        if !self.state().segments.contains_key(&segment) {
            // It was removed meanwhile, and takes room on the disk as long as it is open.
            self.close(segment);
        }
        Ok(file)
    }

    /// The files of this number are not what they were.
    pub(super) fn close(&self, segment: u64) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&self.segment_path(segment));
        open.remove(&self.index_path(segment));
    }

    /// The first record of an agent that is not done.
    pub(crate) fn next(&self, agent: u32) -> io::Result<Next> {
        if let Some(stored) = self.warm(agent) {
            return Ok(Next::Record(stored));
        }
        let _steady = self.layout.read().unwrap_or_else(PoisonError::into_inner);
        let (done, last, near) = {
            let state = self.state();
            let known = state.ledger.agent(agent);
            (known.done, known.last, known.near)
        };
        if last.number <= done.number {
            return Ok(Next::Empty);
        }
        let mut from = near;
        loop {
            let in_memory = {
                let state = self.state();
                let Some((number, segment)) = state.segments.range(from..).next() else {
                    return Ok(Next::Lost(last, from));
                };
                from = *number;
                segment.entries.as_ref().map(|entries| {
                    let own = entries.range((agent, done.number + 1)..=(agent, u64::MAX)).take(AHEAD);
                    own.map(|((_, number), place)| Found::new(*number, place.at, place.record_bytes))
                        .collect()
                })
            };
            let found: Vec<Found> = match in_memory {
                Some(found) => found,
                None => match self.find_sealed(from, agent, done.number + 1) {
                    Ok(found) => found.into_iter().map(Found::from).collect(),
                    Err(_) if !self.state().segments.contains_key(&from) => Vec::new(),
                    Err(error) => return Err(error),
                },
            };
            if let Some((first, rest)) = found.split_first() {
                let read = self.read(from, agent, done, *first)?;
                if matches!(&read, Next::Record(_)) {
                    self.read_ahead(from, agent, first.number, rest);
                }
                return Ok(read);
            }
            from += 1;
        }
    }

    /// Reads what comes behind a record, as long as all is well and there is room.
    fn read_ahead(&self, segment: u64, agent: u32, mut number: u64, rest: &[Found]) {
        for found in rest {
            number += 1;
            let has_room = self.state().hearth.has_room(found.bytes * 2);
            if found.number != number || found.bytes > WHOLE || !has_room {
                return;
            }
            let Ok(file) = self.file(segment, self.segment_path(segment)) else { return };
            let Ok(Some((fixed, head, body))) = short(&*file, found.at, found.bytes) else { return };
            if (fixed.agent, fixed.number) != (agent, number) {
                return;
            }
            let (position, time_ms) = (Position { number, total: fixed.total }, fixed.time_ms);
            let mut state = self.state();
            if state.hearth.get(agent, number).is_none() {
                state.hearth.put(agent, Warm { position, segment, time_ms, head, body });
            }
        }
    }

    fn find_sealed(&self, segment: u64, agent: u32, from: u64) -> io::Result<Vec<Entry>> {
        if !self.state().segments.get(&segment).is_none_or(|known| known.checked) {
            let (entries, has_index) = self.look_up(segment)?;
            if !has_index {
                let own = entries.into_iter().filter(|entry| entry.agent == agent && entry.number >= from);
                return Ok(own.take(AHEAD).collect());
            }
            if let Some(known) = self.state().segments.get_mut(&segment) {
                known.checked = true;
            }
        }
        let file = self.file(segment, self.index_path(segment))?;
        index::find(&|at, buffer| file.read_at(at, buffer), file.length()?, agent, from, AHEAD)
    }

    /// Every entry of a sealed file; its index is made again if it is not whole.
    pub(super) fn entries(&self, segment: u64) -> io::Result<Vec<Entry>> {
        self.look_up(segment).map(|(entries, _)| entries)
    }

    /// Every entry of a sealed file, and whether it has an index: a full disk takes none.
    fn look_up(&self, segment: u64) -> io::Result<(Vec<Entry>, bool)> {
        static QUIET: Quiet = Quiet::new(Duration::from_secs(10));
        let path = self.index_path(segment);
        if let Some(entries) = self.disk.read(&path).ok().and_then(|bytes| index::check(&bytes)) {
            return Ok((entries, true));
        }
        let bytes = self.disk.read(&self.segment_path(segment))?;
        let good = self.state().segments.get(&segment).map_or(u64::MAX, |known| known.good_bytes);
        let bytes = bytes.get(..usize::try_from(good).unwrap_or(usize::MAX)).unwrap_or(&bytes);
        let mark = frame::read_file_head(bytes).map_or(0, |head| head.mark);
        let frame::Contents { records, lost_bytes, .. } = frame::read(bytes, frame::FILE_HEAD, mark);
        let mut entries: Vec<_> = records.iter().map(|(at, record)| entry(*at, record)).collect();
        entries.sort_unstable();
        let written = self.write_index(segment, &entries);
        match &written {
            Ok(()) => tracing::warn!(segment, lost_bytes, "the index of a queue file was made again"),
            Err(error) => {
                if let Some(suppressed) = QUIET.speak(Instant::now()) {
                    tracing::warn!(segment, %error, suppressed, "the index of a queue file was not made again");
                }
            }
        }
        Ok((entries, written.is_ok()))
    }

    /// Writes the index of a file, durably.
    pub(super) fn write_index(&self, segment: u64, entries: &[Entry]) -> io::Result<()> {
        let path = self.index_path(segment);
        let new = path.with_extension(format!("idx.new-{:08x}", fastrand::u32(..)));
        let written = (|| {
            let mut file = self.disk.create(&new)?;
            file.append(&index::encode(entries.iter().copied()))?;
            file.sync()?;
            self.disk.rename(&new, &path)?;
            self.close(segment);
            self.disk.sync_folder(&self.folder)
        })();
        if written.is_err() {
            self.disk.remove(&new).ok();
        }
        written
    }

    fn read(&self, segment: u64, agent: u32, done: Position, found: Found) -> io::Result<Next> {
        let Found { number, at, bytes } = found;
        // A part is on its way while the next one is read.
        let share = self.budget.take(if bytes > WHOLE { PIECE as u64 * 2 } else { bytes });
        let Some(share) = share else { return Ok(Next::Busy) };
        let file = match self.file(segment, self.segment_path(segment)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Next::Lost(Position { number, total: done.total }, segment));
            }
            file => file?,
        };
        let read = if bytes > WHOLE { long(file, at, bytes)? } else { short(&*file, at, bytes)? };
        let is_it = |fixed: &Fixed| fixed.agent == agent && fixed.number == number;
        let Some((fixed, head, body)) = read.filter(|(fixed, ..)| is_it(fixed)) else {
            return Ok(Next::Lost(Position { number, total: done.total }, segment));
        };
        if number > done.number + 1 {
            let total = fixed.total.saturating_sub(bytes);
            return Ok(Next::Lost(Position { number: number - 1, total }, segment));
        }
        let (position, time_ms) = (Position { number, total: fixed.total }, fixed.time_ms);
        Ok(Next::Record(Stored { position, segment, time_ms, head, body, _share: share }))
    }

    /// Whether a record has to go into this lane: because it is there already, or others wait there before it.
    pub(super) fn belongs_aside(&self, number: u64, lane: &str) -> bool {
        self.is_lane(lane, |lane| lane.origin >= number || lane.queued() > 0)
    }

    /// Whether this lane has had a record of this number, or a later one.
    pub(super) fn was_aside(&self, number: u64, lane: &str) -> bool {
        self.is_lane(lane, |lane| lane.origin >= number)
    }

    /// Whether there is such a lane, and it is as asked. Asked for every record: nothing is copied.
    fn is_lane(&self, name: &str, asked: impl FnOnce(&Agent) -> bool) -> bool {
        let state = self.state();
        state.ledger.number(name).and_then(|lane| state.ledger.look(lane)).is_some_and(asked)
    }

    /// What became of a record that this lane refuses as known: a crash has forgotten it. Those before the last one
    /// that was set aside were set aside or delivered, and it is known how many of them were set aside.
    pub(super) fn end_before(&self, agent: u32) -> End {
        let state = self.state();
        let known = state.ledger.agent(agent);
        if known.moved_out < state.ledger.set_aside(&known.name) { End::Moved } else { End::Delivered }
    }

    /// The records of an agent up to this one are done, and this became of them.
    pub(crate) fn done(&self, agent: u32, done: Position, near: u64, end: End) {
        let mut state = self.state();
        let known = state.ledger.agent(agent);
        let more = done.number.saturating_sub(known.done.number);
        let mut given = Given { dead: known.dead, moved_out: known.moved_out };
        match end {
            End::Delivered => {}
            End::Dead => given.dead += more,
            End::Moved => given.moved_out += more,
        }
        state.ledger.done(agent, done, given, near);
        state.hearth.done(agent, done.number);
        state.changed.insert(agent);
        state.unsettled += more;
    }
}

/// Where a record stands in its file.
#[derive(Clone, Copy, Debug)]
struct Found {
    number: u64,
    at: u64,
    bytes: u64,
}

impl Found {
    fn new(number: u64, at: u64, bytes: u64) -> Self {
        Self { number, at, bytes }
    }
}

impl From<Entry> for Found {
    fn from(entry: Entry) -> Self {
        Self::new(entry.number, u64::from(entry.at), u64::from(entry.record_bytes))
    }
}

/// A record without what only the files need.
type Read = Option<(Fixed, Bytes, Content)>;

/// Reads a record as a whole; `None` when it is damaged.
fn short(file: &dyn ReadAt, at: u64, bytes: u64) -> io::Result<Read> {
    let mut buffer = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
    file.read_at(at, &mut buffer)?;
    let Some(record) = frame::read_record(&buffer) else { return Ok(None) };
    let (fixed, skipped) = (record.fixed, record.origin().1);
    let body_at = frame::RECORD + record.head.len();
    let whole = Bytes::from(buffer);
    Ok(Some((fixed, whole.slice(frame::RECORD + skipped..body_at), whole.slice(body_at..).into())))
}

/// Reads a record but for its body, which is only looked at; `None` when it is damaged.
fn long(file: Arc<dyn ReadAt>, at: u64, bytes: u64) -> io::Result<Read> {
    let mut buffer = [0; frame::RECORD];
    file.read_at(at, &mut buffer)?;
    let Some(fixed) = frame::read_fixed(&buffer).filter(|fixed| fixed.record_bytes() == bytes) else {
        return Ok(None);
    };
    let mut head = vec![0; usize::from(fixed.head_bytes)];
    let head_at = at + frame::RECORD as u64;
    file.read_at(head_at, &mut head)?;
    let body_at = head_at + u64::from(fixed.head_bytes);
    let body = Content::File { file, at: body_at, length: u64::from(fixed.body_bytes) };
    let mut sum = frame::begin(&buffer, &head);
    body.each(&mut |part| {
        sum.update(part);
        Ok(())
    })?;
    if !frame::is_whole(&buffer, sum) {
        return Ok(None);
    }
    let skipped = Record { fixed, head: &head, body: &[] }.origin().1;
    Ok(Some((fixed, Bytes::from(head).slice(skipped..), body)))
}

/// The entry of a record that begins there.
pub(super) fn entry(at: u64, record: &Record<'_>) -> Entry {
    Entry {
        agent: record.fixed.agent,
        number: record.fixed.number,
        at: u32::try_from(at).unwrap_or(u32::MAX),
        record_bytes: u32::try_from(record.fixed.record_bytes()).unwrap_or(u32::MAX),
        time_s: u32::try_from(record.fixed.time_ms / 1000).unwrap_or(u32::MAX),
    }
}

/// The file of this number.
pub(super) fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016}.log"))
}
