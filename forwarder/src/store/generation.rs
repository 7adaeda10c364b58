//! Pure. The rows of one file of the log, in memory until they are sealed.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::error::ArrowError;

use super::{ledger::Ledger, schema::schema};

/// Batches of this many rows are left as they are.
const ENOUGH_ROWS: usize = 4096;
/// So are batches of this size.
const ENOUGH_BYTES: usize = 8 << 20;

/// The rows of one file of the log.
#[derive(Clone, Debug, Default)]
pub struct Generation {
    /// Number of the file.
    pub number: u64,
    /// The rows, in the order of arrival.
    pub batches: Vec<RecordBatch>,
    /// Length of the file.
    pub log_bytes: u64,
}

/// A generation that nothing is added to any more, and the accounts at its end.
#[derive(Clone, Debug)]
pub struct Full {
    /// Its rows.
    pub generation: Generation,
    /// The accounts.
    pub ledger: Ledger,
}

impl Generation {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Adds rows, and joins small batches as a binary counter carries: each row is copied a few times at most,
    /// and there are few batches however small they come.
    ///
    /// # Errors
    /// When a joined batch would be too large, which `ENOUGH_BYTES` rules out.
    pub fn push(&mut self, batch: RecordBatch) -> Result<(), ArrowError> {
        self.batches.push(batch);
        while let [.., before, last] = self.batches.as_slice() {
            let enough = |batch: &RecordBatch| {
                batch.num_rows() >= ENOUGH_ROWS || batch.get_array_memory_size() >= ENOUGH_BYTES
            };
            if enough(before) || enough(last) || before.num_rows() > 2 * last.num_rows() {
                break;
            }
            let joined = concat_batches(&schema(), [before, last])?;
            self.batches.truncate(self.batches.len() - 2);
            self.batches.push(joined);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

    #[test]
    fn small_batches_are_joined_and_no_row_is_lost() {
        let mut generation = Generation::default();
        for sequence in 1..=1000 {
            generation.push(samples::batch("a", 1, sequence..=sequence)).unwrap();
        }
        assert_eq!(generation.rows(), 1000);
        assert!(generation.batches.len() <= 12, "{}", generation.batches.len());
    }
}
