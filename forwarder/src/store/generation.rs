//! Pure. What one file of the log holds, in memory until it is sealed: as it came, until somebody wants rows of it.
//!
//! To take an exchange off the wire and put it on disk needs none of its columns. They are made block by block: in
//! the background, for a query, or for the sealing, whoever comes first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use common::wire;

use super::columns::Columns;
use super::ledger::{Ledger, Registration};

/// A block is full with this many rows.
const BLOCK_ROWS: usize = 4096;
/// So is one of this size.
const BLOCK_BYTES: usize = 4 << 20;

/// A batch as it came, acknowledged and known to decode.
#[derive(Clone, Debug)]
pub struct Raw {
    request: wire::CaptureRequest,
    /// Exchanges at its start that were stored before.
    known: u32,
    cluster: Arc<str>,
    registration: Arc<Registration>,
}

impl Raw {
    /// What is new of a batch.
    pub fn new(request: wire::CaptureRequest, known: u32, cluster: Arc<str>, ledger: &Ledger) -> Self {
        let epoch = ledger.epoch(&request.proxy_id, request.epoch);
        let registration = epoch.and_then(|epoch| epoch.registration.clone()).unwrap_or_default();
        Self { request, known, cluster, registration: Arc::new(registration) }
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.request.count.saturating_sub(self.known) as usize
    }
}

/// Some batches in the order of arrival, to which nothing is added any more.
#[derive(Debug)]
pub struct Block {
    rows: usize,
    held: Mutex<Held>,
}

#[derive(Debug)]
enum Held {
    Raw(Vec<Raw>),
    Rows(RecordBatch),
}

impl Block {
    /// A block of these.
    pub fn new(raws: Vec<Raw>) -> Self {
        Self { rows: raws.iter().map(Raw::rows).sum(), held: Mutex::new(Held::Raw(raws)) }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The rows; whoever asks first makes them, which takes some milliseconds.
    ///
    /// # Errors
    /// When they are too many for one batch, or do not decode: neither is ever acknowledged.
    pub fn batch(&self) -> Result<RecordBatch, ArrowError> {
        let raws = match &*self.held() {
            Held::Rows(rows) => return Ok(rows.clone()),
            Held::Raw(raws) => raws.clone(),
        };
        // Nobody waits for who makes rows at leisure: two may make them at once.
        let rows = decode(&raws)?;
        *self.held() = Held::Rows(rows.clone());
        Ok(rows)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn decode(raws: &[Raw]) -> Result<RecordBatch, ArrowError> {
    let mut columns = Columns::default();
    for raw in raws {
        let pushed = columns.push_batch(&raw.cluster, &raw.registration, &raw.request, raw.known);
        pushed.map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
    }
    columns.finish()
}

/// What one file of the log holds.
#[derive(Clone, Debug, Default)]
pub struct Generation {
    /// Number of the file.
    pub number: u64,
    /// Length of the file.
    pub log_bytes: u64,
    full: Vec<Arc<Block>>,
    open: Vec<Raw>,
    open_rows: usize,
    open_bytes: usize,
}

/// A generation that nothing is added to any more, and the accounts at its end.
#[derive(Clone, Debug)]
pub struct Full {
    /// What it holds.
    pub generation: Generation,
    /// The accounts.
    pub ledger: Ledger,
}

impl Generation {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.full.iter().map(|block| block.rows()).sum::<usize>() + self.open_rows
    }

    /// Adds a batch; returns a block that is full with it.
    pub fn push(&mut self, raw: Raw) -> Option<Arc<Block>> {
        self.open_rows += raw.rows();
        self.open_bytes += raw.request.exchanges.len();
        self.open.push(raw);
        (self.open_rows >= BLOCK_ROWS || self.open_bytes >= BLOCK_BYTES).then(|| self.end_block())
    }

    /// Nothing is added any more.
    pub fn end(&mut self) {
        if !self.open.is_empty() {
            self.end_block();
        }
    }

    fn end_block(&mut self) -> Arc<Block> {
        let block = Arc::new(Block::new(std::mem::take(&mut self.open)));
        (self.open_rows, self.open_bytes) = (0, 0);
        self.full.push(Arc::clone(&block));
        block
    }

    /// All of it at this moment, in the order of arrival.
    pub fn blocks(&self) -> impl Iterator<Item = Arc<Block>> + '_ {
        let open = (!self.open.is_empty()).then(|| Arc::new(Block::new(self.open.clone())));
        self.full.iter().cloned().chain(open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::row::Row;
    use crate::store::samples;

    fn raw(sequence: u64) -> Raw {
        let mut ledger = Ledger::default();
        ledger.register(&samples::registration("a", 1), 0);
        Raw::new(samples::request("a", 1, sequence..=sequence + 1), 1, "test".into(), &ledger)
    }

    #[test]
    fn blocks_fill_up_and_what_was_known_is_no_row() {
        let mut generation = Generation::default();
        let full = (1..=6000).filter_map(|sequence| generation.push(raw(sequence))).count();
        assert!(full > 0 && full == generation.full.len());
        assert_eq!(generation.rows(), 6000);
        generation.end();
        let blocks: Vec<_> = generation.blocks().collect();
        assert!(blocks.iter().all(|block| block.rows() <= BLOCK_ROWS));
        let rows = blocks.iter().flat_map(|block| {
            let batch = block.batch().unwrap();
            assert_eq!(batch, block.batch().unwrap());
            (0..batch.num_rows()).map(move |row| Row::read(&batch, row).unwrap())
        });
        assert!(rows.eq(samples::rows("a", 1, 2..=6001)), "in order, each once");
    }
}
