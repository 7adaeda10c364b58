//! Opens a queue: the marks, and the files behind the last one that was sealed. The others are not read.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Mutex, RwLock},
};

use common::disk::Disk;

use super::{
    budget::Budget,
    frame::{self, FILE_HEAD, MOVED, REPLAYED, REQUEST},
    ledger::{Arrival, Position},
    marks,
    store::{MEMORY_BYTES, Place, Segment, State, Store, segment_path},
};

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Up to this number, files are sealed.
    pub(super) sealed: u64,
    /// The highest number that a file has or had.
    pub(super) highest: u64,
    /// Bytes at the end that were never acknowledged.
    pub(crate) torn_bytes: u64,
    /// Bytes that had been acknowledged and cannot be read.
    pub(crate) lost_bytes: u64,
}

/// The file of marks.
pub(super) const MARKS: &str = "marks";

/// Reads what is in the folder, and changes nothing but what a crash left half made.
pub(crate) fn recover(disk: Arc<dyn Disk>, folder: &Path) -> io::Result<(Store, Found)> {
    let mut found = Found::default();
    let names = disk.list(folder)?;
    // A rename that a crash cut short may not be durable yet.
    disk.sync_folder(folder)?;
    let mut state = State::default();
    // Made durable with the first name, before any record is.
    state.ledger.id = fastrand::u128(..);
    read_marks(&*disk, folder, &mut state, &mut found)?;
    let mut numbers: Vec<u64> =
        names.iter().filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect();
    numbers.sort_unstable();
    // A file that was removed is known by what was done in it: behind its number nothing would be looked for.
    let near = state.ledger.agents().map(|(_, agent)| agent.near).max();
    found.highest = numbers.last().copied().max(near).unwrap_or(0).max(found.sealed);
    let mut read = BTreeMap::new();
    // By number: how much of it counts, which the file after it says.
    let mut counts_of: BTreeMap<u64, u64> = BTreeMap::new();
    for number in numbers.iter().copied().filter(|number| *number > found.sealed) {
        let bytes = disk.read(&segment_path(folder, number))?;
        let Some(head) = frame::read_file_head(&bytes).filter(|head| head.number == number) else {
            // Its head is on disk before anything in it is acknowledged.
            found.torn_bytes += bytes.len() as u64;
            continue;
        };
        counts_of.insert(number - 1, head.before);
        read.insert(number, (bytes, head.mark));
    }
    for number in numbers.iter().copied().filter(|number| *number <= found.sealed) {
        state.segments.insert(number, Segment { good_bytes: u64::MAX, ..Segment::default() });
    }
    for (number, (bytes, mark)) in read {
        let counts = counts_of.get(&number).copied().unwrap_or(u64::MAX);
        let counts = usize::try_from(counts).unwrap_or(usize::MAX).min(bytes.len());
        let contents = frame::read(bytes.get(..counts).unwrap_or_default(), FILE_HEAD, mark);
        found.torn_bytes += contents.torn_bytes + (bytes.len() - counts) as u64;
        found.lost_bytes += contents.lost_bytes;
        let mut entries = BTreeMap::new();
        for (at, record) in contents.records.iter().filter(|(_, record)| record.fixed.kind == REQUEST) {
            let fixed = record.fixed;
            let position = Position { number: fixed.number, total: fixed.total };
            state.ledger.accepted(
                fixed.agent,
                Arrival {
                    position,
                    is_replayed: fixed.flags & REPLAYED != 0,
                    is_moved: fixed.flags & MOVED != 0,
                    origin: record.origin().0.unwrap_or(0),
                },
            );
            let place = Place { at: *at, record_bytes: fixed.record_bytes(), time_ms: fixed.time_ms };
            entries.insert((fixed.agent, fixed.number), place);
        }
        let segment =
            Segment { good_bytes: contents.good_bytes, entries: Some(entries), ..Segment::default() };
        state.segments.insert(number, segment);
    }
    for name in names.iter().filter(|name| name.contains(".new")) {
        disk.remove(&folder.join(name)).ok();
    }
    Ok((
        Store {
            disk,
            folder: folder.to_owned(),
            state: Mutex::new(state),
            budget: Budget::new(MEMORY_BYTES),
            open: Mutex::default(),
            layout: RwLock::default(),
        },
        found,
    ))
}

fn read_marks(disk: &dyn Disk, folder: &Path, state: &mut State, found: &mut Found) -> io::Result<()> {
    let bytes = match disk.read(&folder.join(MARKS)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let Some(head) = frame::read_file_head(&bytes) else {
        found.lost_bytes += bytes.len() as u64;
        return Ok(());
    };
    let contents = frame::read(&bytes, FILE_HEAD, head.mark);
    found.lost_bytes += contents.lost_bytes;
    for (_, record) in &contents.records {
        if let Some(sealed) = marks::apply(record, &mut state.ledger) {
            found.sealed = found.sealed.max(sealed);
        }
    }
    Ok(())
}
