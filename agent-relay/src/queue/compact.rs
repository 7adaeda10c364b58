//! Makes a sealed file small again of which only little is needed: what waits long for one agent is not to keep what
//! others have done.

use std::{
    io,
    sync::PoisonError,
    time::{Duration, Instant},
};

use common::disk::ReadAt;

use super::{
    frame::{self, FILE_HEAD, FileHead, LAST},
    index::Entry,
    store::Store,
};

/// When a sealed file is made small.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Worth {
    /// Its first record has waited so long.
    pub(crate) after: Duration,
    /// And it has so many bytes, of which no more than a quarter is needed.
    pub(crate) bytes: u64,
}

impl Worth {
    /// Whether it is worth it for a file with these entries, of which these are needed.
    fn is_it(self, entries: &[Entry], needed: &[Entry], since: Instant) -> bool {
        let sum = |entries: &[Entry]| entries.iter().map(|entry| u64::from(entry.record_bytes)).sum::<u64>();
        let whole = sum(entries);
        whole >= self.bytes && sum(needed) <= whole / 4 && since.elapsed() >= self.after
    }
}

/// So much is written at once.
const PART: usize = 1 << 20;

impl Store {
    /// Makes a file small if that is worth it. Returns whether it did.
    pub(super) fn compact(
        &self,
        number: u64,
        worth: Worth,
        is_needed: &dyn Fn(&Entry) -> bool,
    ) -> io::Result<bool> {
        let since = self.state().segments.get(&number).and_then(|segment| segment.needed_since);
        let Some(since) = since.filter(|since| since.elapsed() >= worth.after) else { return Ok(false) };
        let entries = self.entries(number)?;
        let mut needed: Vec<Entry> = entries.iter().filter(|entry| is_needed(entry)).copied().collect();
        if !worth.is_it(&entries, &needed, since) {
            return Ok(false);
        }
        needed.sort_by_key(|entry| entry.at);
        let path = self.segment_path(number);
        let new = path.with_extension("log.new");
        let written = self.copy(number, &needed, &new);
        let mut entries = match written {
            Ok(entries) => entries,
            Err(error) => {
                self.disk.remove(&new).ok();
                return Err(error);
            }
        };
        entries.sort_unstable();
        // Whoever reads has the index and the file of one kind.
        let _alone = self.layout.write().unwrap_or_else(PoisonError::into_inner);
        self.close(number);
        if let Some(segment) = self.state().segments.get_mut(&number) {
            // From here on until the end the index may be missing, and is made again from the file.
            segment.checked = false;
            segment.good_bytes = u64::MAX;
            segment.needed_since = None;
        }
        self.remove_if_there(&self.index_path(number))?;
        self.disk.sync_folder(&self.folder)?;
        self.disk.rename(&new, &path)?;
        self.disk.sync_folder(&self.folder)?;
        self.write_index(number, &entries)?;
        Ok(true)
    }

    /// Copies these records of a file into a new one, durably; returns where they stand there.
    fn copy(&self, number: u64, needed: &[Entry], new: &std::path::Path) -> io::Result<Vec<Entry>> {
        let old = self.disk.open(&self.segment_path(number))?;
        let mut head = [0; FILE_HEAD];
        old.read_at(0, &mut head)?;
        let head = frame::read_file_head(&head).ok_or(io::ErrorKind::InvalidData)?;
        let head = FileHead { mark: fastrand::u32(..), ..head };
        let mut file = self.disk.create(new)?;
        let mut buffer = frame::file_head(&head);
        let mut at = FILE_HEAD as u64;
        let mut entries = Vec::with_capacity(needed.len());
        for (entry, group) in needed.iter().zip(1..) {
            let bytes = read(&*old, entry)?;
            let record = frame::read_record(&bytes).ok_or(io::ErrorKind::InvalidData)?;
            // A group of its own: what was durable together is so already.
            let fixed =
                frame::Fixed { mark: head.mark, group, flags: record.fixed.flags | LAST, ..record.fixed };
            buffer.extend_from_slice(&frame::fixed(&fixed, record.head, record.body));
            buffer.extend_from_slice(record.head);
            buffer.extend_from_slice(record.body);
            entries.push(Entry { at: u32::try_from(at).map_err(io::Error::other)?, ..*entry });
            at += fixed.record_bytes();
            if buffer.len() >= PART {
                file.append(&buffer)?;
                buffer.clear();
            }
        }
        file.append(&buffer)?;
        file.sync()?;
        Ok(entries)
    }
}

fn read(file: &dyn ReadAt, entry: &Entry) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; entry.record_bytes as usize];
    file.read_at(u64::from(entry.at), &mut bytes)?;
    Ok(bytes)
}
