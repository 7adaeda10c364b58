//! Pure. Rows into Parquet that every engine reads, one file for each hour.

use std::ops::Range;

use arrow::array::{AsArray as _, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::datatypes::TimestampNanosecondType;
use jiff::Timestamp;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::checkpoint::Segment;
use super::generation::{Generation, Raw, make};
use super::schema::{COLUMNS, Layout, schema};

/// Rows of a row group: what a query of the newest rows reads at least the narrow columns of.
pub const ROW_GROUP_ROWS: usize = 16_384;
const ROW_GROUP_BYTES: usize = 32 << 20;
const PAGE_ROWS: usize = 2048;
/// Rows that are made at a time: few enough to stay in the cache of a processor on their way.
const CHUNK_ROWS: usize = 2048;
/// A proxy whose clock is wild cannot make more files than this of one generation.
const MAX_PARTS: usize = 64;
const HOUR_NS: i64 = 3_600_000_000_000;

/// A Parquet file, not stored yet.
#[derive(Debug)]
pub struct Part {
    /// What the catalog says of it.
    pub segment: Segment,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

struct Row<'a> {
    ts: i64,
    raw: &'a Raw,
    row: usize,
}

/// All rows of a generation in the order of time, cut at the hours. The names depend on the store and the generation
/// alone, so that doing it again after a crash writes the same objects. `between` is called between two pieces of the
/// work, of some milliseconds each.
///
/// # Errors
/// When a batch does not decode, which is never acknowledged.
pub fn encode(
    store_id: u64,
    generation: &Generation,
    between: &mut dyn FnMut(),
) -> anyhow::Result<Vec<Part>> {
    let mut rows: Vec<_> = generation
        .raws()
        .flat_map(|raw| raw.times().enumerate().map(move |(row, ts)| Row { ts, raw, row }))
        .collect();
    rows.sort_unstable_by(|a, b| a.ts.cmp(&b.ts).then_with(|| a.raw.uuid(a.row).cmp(&b.raw.uuid(b.row))));
    let name = format!("{store_id:016x}-{:020}.parquet", generation.number);
    hours(&rows).into_iter().map(|range| part(&name, rows.get(range).unwrap_or_default(), between)).collect()
}

/// The columns that rows are ordered by: `uuid` and `ts`.
pub fn order_columns(batch: &RecordBatch) -> Option<(&StringArray, &TimestampNanosecondArray)> {
    let uuid = batch.column_by_name("uuid")?.as_string_opt()?;
    let ts = batch.column_by_name("ts")?.as_primitive_opt::<TimestampNanosecondType>()?;
    Some((uuid, ts))
}

fn hours(rows: &[Row<'_>]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    for same in rows.chunk_by(|a, b| a.ts.div_euclid(HOUR_NS) == b.ts.div_euclid(HOUR_NS)) {
        let range = start..start + same.len();
        start = range.end;
        let full = ranges.len() >= MAX_PARTS;
        match ranges.last_mut() {
            Some(last) if full => last.end = range.end,
            _ => ranges.push(range),
        }
    }
    ranges
}

fn part(name: &str, rows: &[Row<'_>], between: &mut dyn FnMut()) -> anyhow::Result<Part> {
    let min_ns = rows.first().map_or(0, |row| row.ts);
    let max_ns = rows.last().map_or(0, |row| row.ts);
    let mut writer = ArrowWriter::try_new(Vec::new(), schema(), Some(properties()?))?;
    for chunk in rows.chunks(CHUNK_ROWS) {
        writer.write(&make(chunk.len(), chunk.iter().map(|row| (row.raw, row.row)))?)?;
        between();
    }
    let bytes = writer.into_inner()?;
    let hour = Timestamp::from_nanosecond(i128::from(min_ns))?.strftime("date=%Y-%m-%d/hour=%H").to_string();
    let segment = Segment {
        path: format!("{hour}/{name}"),
        bytes: bytes.len() as u64,
        rows: rows.len() as u64,
        min_ns,
        max_ns,
    };
    Ok(Part { segment, bytes })
}

fn properties() -> anyhow::Result<WriterProperties> {
    let place = |name: &str| COLUMNS.iter().position(|column| column.name == name).unwrap_or(0);
    let sorted = |name: &str| {
        let column_idx = i32::try_from(place(name))?;
        anyhow::Ok(SortingColumn { column_idx, descending: false, nulls_first: false })
    };
    let mut properties = WriterProperties::builder()
        .set_created_by("wayside".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_ROWS.min(1024))
        .set_statistics_truncate_length(Some(64))
        .set_column_index_truncate_length(Some(64))
        .set_sorting_columns(Some(vec![sorted("ts")?, sorted("uuid")?]));
    for column in COLUMNS {
        let path = || ColumnPath::from(column.name);
        let leaf = if column.name == "informational" {
            ColumnPath::new(["informational", "list", "item"].map(str::to_owned).to_vec())
        } else {
            path()
        };
        properties = match column.layout {
            Layout::Dictionary => properties.set_column_dictionary_enabled(leaf, true),
            Layout::Delta => properties
                .set_column_dictionary_enabled(leaf, false)
                .set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED),
            Layout::Prefix => properties
                .set_column_dictionary_enabled(leaf, false)
                .set_column_encoding(path(), Encoding::DELTA_BYTE_ARRAY)
                .set_column_bloom_filter_enabled(path(), true)
                .set_column_bloom_filter_max_ndv(path(), ROW_GROUP_ROWS as u64),
            // Nobody compares whole heads and bodies, and their first bytes would fill the footer.
            Layout::Plain => properties
                .set_column_dictionary_enabled(leaf.clone(), false)
                .set_column_statistics_enabled(leaf, EnabledStatistics::None),
        };
    }
    Ok(properties.build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    #[test]
    fn rows_read_back_in_the_order_of_time_and_the_same_again_makes_the_same_bytes() {
        let mut generation = Generation::default();
        generation.number = 9;
        generation.push(samples::raw("b", 1, 500..=900, 0));
        generation.push(samples::raw("a", 1, 1..=700, 0));
        let parts = encode(7, &generation, &mut || {}).unwrap();
        let again = encode(7, &generation, &mut || {}).unwrap();
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].bytes, again[0].bytes);
        assert_eq!(
            parts[0].segment.path,
            "date=2026-11-20/hour=04/0000000000000007-00000000000000000009.parquet"
        );
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(parts[0].bytes.clone())).unwrap();
        let read: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
        let ts: Vec<_> =
            read.iter().flat_map(|batch| order_columns(batch).unwrap().1.values().to_vec()).collect();
        assert_eq!(ts.len(), 1101);
        assert!(ts.is_sorted());
        assert_eq!((ts[0], ts[1100]), (parts[0].segment.min_ns, parts[0].segment.max_ns));
        assert_eq!(read[0].schema(), schema());
    }
}
