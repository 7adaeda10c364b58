//! Removes the files that nobody needs any more.

use std::{collections::BTreeMap, io, path::Path, time::Instant};

use super::{
    compact::Worth,
    index::Entry,
    store::{Place, Segment, Store},
};

/// So many indexes are read at once to see whether their files are needed.
const MOST_READ: usize = 4;

impl Store {
    /// Removes the files of which all is done, as far as `durable` knows. Returns how many.
    /// One that has waited long for few of its records is made small.
    pub(super) fn sweep(&self, active: u64, durable: &dyn Fn(u32) -> u64, worth: Worth) -> io::Result<usize> {
        let mut removed = self.sweep_unsealed(active, durable)?;
        let sealed: Vec<_> = {
            let state = self.state();
            let is_old =
                |(number, segment): &(&u64, &Segment)| **number < active && segment.entries.is_none();
            state.segments.iter().filter(is_old).map(|(number, segment)| (*number, segment.needed)).collect()
        };
        let mut read = 0;
        let mut compacted = false;
        for (number, needed) in sealed {
            let is_needed = |(agent, record): (u32, u64)| record > durable(agent);
            if needed.is_some_and(is_needed) {
                let is_entry_needed = |entry: &Entry| is_needed((entry.agent, entry.number));
                if !compacted {
                    compacted = self.compact(number, worth, &is_entry_needed)?;
                }
                continue;
            }
            // The others have time: those who wait to be written have not.
            if read == MOST_READ {
                break;
            }
            read += 1;
            let needed = self.entries(number)?.iter().map(|e| (e.agent, e.number)).find(|e| is_needed(*e));
            if needed.is_some() {
                if let Some(segment) = self.state().segments.get_mut(&number) {
                    segment.needed = needed;
                    segment.needed_since = Some(Instant::now());
                }
                continue;
            }
            // Out of sight first, so that a reader does not take what is missing for lost.
            self.forget(number);
            self.disk.remove(&self.segment_path(number))?;
            self.remove_if_there(&self.index_path(number))?;
            removed += 1;
        }
        Ok(removed)
    }

    /// As [`Self::sweep`], for the files that are not sealed: a full disk has no room for an index.
    fn sweep_unsealed(&self, active: u64, durable: &dyn Fn(u32) -> u64) -> io::Result<usize> {
        let needless: Vec<u64> = {
            let state = self.state();
            let is_needed =
                |records: &BTreeMap<(u32, u64), Place>| records.keys().any(|(agent, n)| *n > durable(*agent));
            let unsealed =
                state.segments.range(..active).filter_map(|(n, s)| Some((*n, s.entries.as_ref()?)));
            // From the front on: each says how much of the one before it counts.
            unsealed.take_while(|(_, records)| !is_needed(records)).map(|(number, _)| number).collect()
        };
        for number in &needless {
            // On disk first: one that stays is what the next one is needed for.
            self.remove_if_there(&self.segment_path(*number))?;
            self.forget(*number);
            // Its mark may be all that was missing.
            self.remove_if_there(&self.index_path(*number))?;
        }
        Ok(needless.len())
    }

    fn forget(&self, number: u64) {
        self.state().segments.remove(&number);
        self.close(number);
    }

    /// Removes a file that may be gone already.
    pub(super) fn remove_if_there(&self, path: &Path) -> io::Result<()> {
        match self.disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
