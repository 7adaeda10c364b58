//! Writes the file of marks: a group at a time, and all of it anew when it has grown long.

use std::{
    collections::HashMap,
    io,
    path::Path,
    time::{Duration, Instant},
};

use common::disk::LogFile;

use super::{
    frame::{self, FileHead},
    marks::Marks,
    recover::MARKS,
    store::Store,
};

/// Kept on disk for nothing, so that a full disk still takes the marks that empty it.
const RESERVE: &str = "reserve";
const RESERVE_BYTES: usize = 1 << 20;
/// How long after a failure no reserve is made again.
const REST: Duration = Duration::from_secs(5);

struct File {
    file: Box<dyn LogFile>,
    mark: u32,
    group: u32,
    bytes: u64,
    fresh_bytes: u64,
}

/// See the module.
pub(super) struct Marking {
    file: Option<File>,
    /// When the file is written anew.
    full_bytes: u64,
    /// What is durable of how far each agent is.
    durable: HashMap<u32, u64>,
    has_reserve: bool,
    failed: Option<Instant>,
}

impl Marking {
    /// Goes on with what was read back, which is durable.
    pub(super) fn new(store: &Store, full_bytes: u64) -> Self {
        let durable =
            store.state().ledger.agents().map(|(number, agent)| (number, agent.done.number)).collect();
        Self { file: None, full_bytes, durable, has_reserve: false, failed: None }
    }

    /// How far an agent is for sure.
    pub(super) fn durable(&self, agent: u32) -> u64 {
        self.durable.get(&agent).copied().unwrap_or(0)
    }

    /// Makes marks durable. `sealed` is the highest file of records that is sealed.
    pub(super) fn mark(&mut self, store: &Store, sealed: u64, told: &dyn Fn(&mut Marks)) -> io::Result<()> {
        let is_long = |file: &File| file.bytes > self.full_bytes.max(file.fresh_bytes * 4);
        if self.file.as_ref().is_none_or(is_long) {
            self.file = None;
            self.file = Some(self.begin(store, sealed)?);
        }
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::Other.into()) };
        file.group += 1;
        let mut marks = Marks::new(file.mark, file.group);
        told(&mut marks);
        let bytes = marks.end();
        let written = file.file.append(&bytes).and_then(|()| file.file.sync());
        file.bytes += bytes.len() as u64;
        if written.is_err() {
            self.file = None;
        }
        written
    }

    /// As [`Self::mark`], for what is done of these agents; a full disk gives up the reserve for it.
    pub(super) fn settle(&mut self, store: &Store, sealed: u64, changed: &[u32]) -> io::Result<()> {
        let told: Vec<_> = {
            let state = store.state();
            changed.iter().map(|number| (*number, state.ledger.agent(*number))).collect()
        };
        // With how far each came: what is done was counted so, and is not counted again when its file is read.
        let tell = |marks: &mut Marks| marks.several(told.iter().map(|(number, agent)| (*number, agent)));
        let mut written = self.mark(store, sealed, &tell);
        if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull) && self.has_reserve
        {
            self.has_reserve = false;
            self.failed = Some(Instant::now());
            store.disk.remove(&store.folder.join(RESERVE))?;
            written = self.mark(store, sealed, &tell);
        }
        written?;
        self.durable.extend(told.into_iter().map(|(number, agent)| (number, agent.done.number)));
        Ok(())
    }

    /// Takes the reserve, if there is none and the disk has room.
    pub(super) fn reserve(&mut self, store: &Store) {
        if self.has_reserve || self.failed.is_some_and(|when| when.elapsed() < REST) {
            return;
        }
        let path = store.folder.join(RESERVE);
        self.has_reserve = fill(store, &path).is_ok();
        if !self.has_reserve {
            self.failed = Some(Instant::now());
            // What was left of it is in the way of what matters.
            store.disk.remove(&path).ok();
        }
    }

    /// A new file of marks that says everything, in place of the old one.
    fn begin(&mut self, store: &Store, sealed: u64) -> io::Result<File> {
        let mark = fastrand::u32(..);
        let mut bytes = frame::file_head(&FileHead { number: 0, mark, before: 0 });
        let mut marks = Marks::new(mark, 1);
        let done: Vec<_> = {
            let state = store.state();
            marks.snapshot(&state.ledger, sealed);
            state.ledger.agents().map(|(number, agent)| (number, agent.done.number)).collect()
        };
        bytes.append(&mut marks.end());
        let new = store.folder.join(format!("{MARKS}.new"));
        let mut file = store.disk.create(&new)?;
        file.append(&bytes)?;
        file.sync()?;
        store.disk.rename(&new, &store.folder.join(MARKS))?;
        store.disk.sync_folder(&store.folder)?;
        self.durable.extend(done);
        let bytes = bytes.len() as u64;
        Ok(File { file, mark, group: 1, bytes, fresh_bytes: bytes })
    }
}

fn fill(store: &Store, path: &Path) -> io::Result<()> {
    let mut file = store.disk.create(path)?;
    file.append(&vec![0; RESERVE_BYTES])?;
    file.sync()
}
