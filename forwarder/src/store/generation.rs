//! Pure. What one file of the log holds, in memory until it is sealed: as it came, and the rows that somebody asked for.
//!
//! To take an exchange off the wire and put it on disk needs none of its columns. They are made block by block for
//! a query, which keeps them for the next one; sealing makes its own, in the order of time.

use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use common::wire;

use super::columns::{Columns, Origin, signed};
use super::identity::{Run, Uuid};
use super::ledger::{Ledger, Registration};

/// A block is full with this many rows.
const BLOCK_ROWS: usize = 4096;
/// So is one of this size.
const BLOCK_BYTES: usize = 4 << 20;

/// A batch as it came, acknowledged and known to decode.
#[derive(Clone, Debug)]
pub struct Raw {
    request: wire::CaptureRequest,
    /// Where its exchanges are; those at its start that were stored before are left out.
    places: Arc<[wire::Place]>,
    run: Run,
    /// In hexadecimal.
    epoch: Box<str>,
    cluster: Arc<str>,
    registration: Arc<Registration>,
}

impl Raw {
    /// What is new of a batch: all but the first `known` of its exchanges, which are at these places.
    pub fn new(
        request: wire::CaptureRequest,
        places: &[wire::Place],
        known: u32,
        cluster: Arc<str>,
        ledger: &Ledger,
    ) -> Self {
        let known_of_it = ledger.epoch(&request.proxy_id, request.epoch);
        let registration = known_of_it.and_then(|epoch| epoch.registration.clone()).unwrap_or_default();
        Self {
            places: places.get(known as usize..).unwrap_or_default().into(),
            run: Run::new(&request.proxy_id, request.epoch),
            epoch: format!("{:016x}", request.epoch).into(),
            cluster,
            registration: Arc::new(registration),
            request,
        }
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.places.len()
    }

    /// When each row began (column `ts`), in order.
    pub fn times(&self) -> impl Iterator<Item = i64> {
        self.places.iter().map(|place| signed(place.first_byte_ns))
    }

    /// The UUID of a row.
    pub fn uuid(&self, row: usize) -> Uuid {
        self.run.uuid(self.sequence(row))
    }

    /// The row of this UUID.
    fn find(&self, uuid: Uuid) -> Option<usize> {
        let row = usize::try_from(uuid.0.checked_sub(self.uuid(0).0)?).ok()?;
        (row < self.rows()).then_some(row)
    }

    fn sequence(&self, row: usize) -> u64 {
        let behind = self.request.count as usize - self.rows() + row;
        self.request.first_sequence.saturating_add(behind as u64)
    }

    fn push_to(&self, columns: &mut Columns, row: usize) -> Result<(), wire::Malformed> {
        let place = self.places.get(row).ok_or(wire::Malformed::Encoding)?;
        let (connection, exchange) = self.request.exchange_at(*place)?;
        let origin = Origin {
            cluster: &self.cluster,
            instance: &self.request.proxy_id,
            epoch: &self.epoch,
            registration: &self.registration,
        };
        columns.push(&origin, self.uuid(row), self.sequence(row), &connection, &exchange);
        Ok(())
    }
}

/// These rows, with all their columns.
///
/// # Errors
/// When they are too many for one batch, or do not decode: neither is ever acknowledged.
pub fn make<'a>(
    count: usize,
    rows: impl Iterator<Item = (&'a Raw, usize)>,
) -> Result<RecordBatch, ArrowError> {
    let mut columns = Columns::new(count);
    for (raw, row) in rows {
        raw.push_to(&mut columns, row).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
    }
    columns.finish()
}

/// Some batches in the order of arrival, to which nothing is added any more.
#[derive(Debug)]
pub struct Block {
    raws: Vec<Raw>,
    rows: usize,
    min_ns: i64,
    max_ns: i64,
    made: OnceLock<RecordBatch>,
}

impl Block {
    /// A block of these.
    pub fn new(raws: Vec<Raw>) -> Self {
        let rows = raws.iter().map(Raw::rows).sum();
        let (min_ns, max_ns) = raws
            .iter()
            .flat_map(Raw::times)
            .fold((i64::MAX, i64::MIN), |(min, max), ns| (min.min(ns), max.max(ns)));
        Self { raws, rows, min_ns, max_ns, made: OnceLock::new() }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The earliest and the latest `ts` of its rows.
    pub fn times(&self) -> (i64, i64) {
        (self.min_ns, self.max_ns)
    }

    /// The row of this UUID, made by itself.
    ///
    /// # Errors
    /// As [`make`].
    pub fn find(&self, uuid: Uuid) -> Result<Option<RecordBatch>, ArrowError> {
        let found = self.raws.iter().find_map(|raw| Some((raw, raw.find(uuid)?)));
        found.map(|found| make(1, std::iter::once(found))).transpose()
    }

    /// The rows; whoever asks first makes them, which takes some milliseconds.
    ///
    /// # Errors
    /// As [`make`].
    pub fn batch(&self) -> Result<RecordBatch, ArrowError> {
        if let Some(made) = self.made.get() {
            return Ok(made.clone());
        }
        // Two may make them at once; nobody waits for the other.
        let rows = self.raws.iter().flat_map(|raw| (0..raw.rows()).map(move |row| (raw, row)));
        let made = make(self.rows, rows)?;
        Ok(self.made.get_or_init(|| made).clone())
    }

    /// Whether somebody asked for the rows.
    #[cfg(test)]
    pub fn is_made(&self) -> bool {
        self.made.get().is_some()
    }
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

    /// Adds a batch.
    pub fn push(&mut self, raw: Raw) {
        self.open_rows += raw.rows();
        self.open_bytes += raw.request.exchanges.len();
        self.open.push(raw);
        if self.open_rows >= BLOCK_ROWS || self.open_bytes >= BLOCK_BYTES {
            self.end_block();
        }
    }

    /// Nothing is added any more.
    pub fn end(&mut self) {
        if !self.open.is_empty() {
            self.end_block();
        }
    }

    fn end_block(&mut self) {
        self.full.push(Arc::new(Block::new(std::mem::take(&mut self.open))));
        (self.open_rows, self.open_bytes) = (0, 0);
    }

    /// All batches of it, in the order of arrival.
    pub fn raws(&self) -> impl Iterator<Item = &Raw> {
        self.full.iter().flat_map(|block| &block.raws).chain(&self.open)
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
        samples::raw("a", 1, sequence..=sequence + 1, 1)
    }

    #[test]
    fn blocks_fill_up_and_what_was_known_is_no_row() {
        let mut generation = Generation::default();
        (1..=6000).for_each(|sequence| generation.push(raw(sequence)));
        assert!(!generation.full.is_empty());
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

    #[test]
    fn a_block_knows_when_its_rows_began_and_finds_each() {
        let block = Block::new(vec![raw(10), raw(20)]);
        let rows: Vec<_> = samples::rows("a", 1, 11..=21).into_iter().step_by(10).collect();
        let [first, last] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!(block.times(), (first.ts_ns, last.ts_ns));
        let uuid = |sequence| Run::new("a", 1).uuid(sequence);
        let find = |uuid| block.find(uuid).unwrap().map(|row| Row::read(&row, 0).unwrap());
        let found: Vec<_> = (1..30).filter_map(|sequence| find(uuid(sequence))).collect();
        assert_eq!(found, rows);
        assert_eq!([first.uuid, last.uuid], [uuid(11), uuid(21)]);
        assert_eq!(find(Run::new("b", 1).uuid(11)), None);
        assert!(!block.is_made());
    }
}
