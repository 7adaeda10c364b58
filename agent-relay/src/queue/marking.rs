//! Writes the file of marks: a group at a time, and all of it anew when it has grown long.

use std::{collections::HashMap, io, path::Path};

use common::disk::{self, LogFile};

use super::{
    frame::{self, FileHead},
    marks::{Marks, snapshot_bytes},
    recover::MARKS,
    store::Store,
};

/// Kept on disk for nothing, so that a full disk still takes the marks that empty it. Nothing is accepted without it:
/// else what comes would take the room that it gave up.
const RESERVE: &str = "reserve";

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
    /// The reserve is a multiple of it.
    reserve_step: u64,
    /// What is durable of how far each agent is.
    durable: HashMap<u32, u64>,
    reserve_bytes: u64,
}

impl Marking {
    /// Goes on with what was read back, which is durable.
    pub(super) fn new(store: &Store, full_bytes: u64, reserve_step: u64) -> Self {
        let durable =
            store.state().ledger.agents().map(|(number, agent)| (number, agent.done.number)).collect();
        let reserve = store.disk.open(&store.folder.join(RESERVE)).and_then(|file| file.length());
        let reserve_bytes = reserve.unwrap_or(0);
        Self { file: None, full_bytes, reserve_step, durable, reserve_bytes }
    }

    /// How far an agent is for sure.
    pub(super) fn durable(&self, agent: u32) -> u64 {
        self.durable.get(&agent).copied().unwrap_or(0)
    }

    /// Makes marks durable. `sealed` is the highest file of records that is sealed.
    pub(super) fn mark(&mut self, store: &Store, sealed: u64, told: &dyn Fn(&mut Marks)) -> io::Result<()> {
        let wanted = self.wanted(store);
        // On a full disk it is written anew while there is room for that beside the old one: what the reserve left.
        let is_long = |file: &File| match self.reserve_bytes {
            0 => file.bytes - file.fresh_bytes > wanted / 4,
            _ => file.bytes > self.full_bytes.max(file.fresh_bytes * 4),
        };
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
        if self.reserve_bytes > 0 && written.as_ref().is_err_and(disk::is_full) {
            store.remove_if_there(&store.folder.join(RESERVE))?;
            self.reserve_bytes = 0;
            written = self.mark(store, sealed, &tell);
        }
        written?;
        self.durable.extend(told.into_iter().map(|(number, agent)| (number, agent.done.number)));
        Ok(())
    }

    /// How long the reserve is to be: for marks that say everything twice.
    fn wanted(&self, store: &Store) -> u64 {
        (snapshot_bytes(&store.state().ledger) * 2).next_multiple_of(self.reserve_step)
    }

    /// Sees to it that there is a reserve.
    pub(super) fn reserve(&mut self, store: &Store) -> io::Result<()> {
        let wanted = self.wanted(store);
        if self.reserve_bytes < wanted {
            lengthen(store, &store.folder.join(RESERVE), self.reserve_bytes, wanted)?;
            self.reserve_bytes = wanted;
        }
        Ok(())
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

/// Makes a file so long; it stays as long as it was if that fails.
fn lengthen(store: &Store, path: &Path, from: u64, to: u64) -> io::Result<()> {
    const PART: u64 = 1 << 20;
    let mut file = if from > 0 { store.disk.extend(path)? } else { store.disk.create(path)? };
    let lengthened = (|| {
        let mut at = from;
        while at < to {
            let part = PART.min(to - at);
            file.append(&vec![0; usize::try_from(part).map_err(io::Error::other)?])?;
            at += part;
        }
        file.sync()
    })();
    if lengthened.is_err() {
        // What was left of it is in the way of what matters.
        file.truncate(from).ok();
    }
    lengthened
}
