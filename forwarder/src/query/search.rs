//! One look for the newest rows that fit: which row groups in which order, and when it is enough.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::AsArray as _;
use arrow::datatypes::TimestampNanosecondType;
use futures::future::try_join_all;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;

use super::segment::{Segments, Texts, Trouble};
use super::{Cursor, Filter};
use crate::store::Segment;
use crate::store::generation::Block;
use crate::store::identity::Uuid;
use crate::store::parquet::order_columns;

/// Rows whose text is looked at at a time.
const TEXT_ROWS: usize = 1024;

#[derive(Clone, Debug)]
pub(super) enum At {
    Unsealed { block: Arc<Block>, row: usize },
    Sealed { segment: Arc<Segment>, row_group: usize, row: usize },
}

/// A row that fits.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) order: Cursor,
    pub(super) at: At,
}

/// What was not looked at yet.
#[derive(Clone)]
pub(super) enum Todo {
    Block(Arc<Block>),
    Segment(Arc<Segment>),
    RowGroup(Arc<Segment>, usize),
}

/// By its latest `ts`; the number makes ties definite.
struct Pending(i64, Reverse<usize>, Todo);

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}

impl Eq for Pending {}

impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pending {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// One question.
pub(super) struct Search<'a> {
    segments: &'a Segments,
    filter: &'a Filter,
    cursor: Option<Cursor>,
    /// One more than the page holds, to know whether there is a next one.
    wanted: usize,
    pub(super) found: Vec<Found>,
    pending: BinaryHeap<Pending>,
    numbers: usize,
}

impl<'a> Search<'a> {
    /// Nothing is looked at yet.
    pub(super) fn new(
        segments: &'a Segments,
        filter: &'a Filter,
        cursor: Option<Cursor>,
        wanted: usize,
    ) -> Self {
        let (found, pending) = (Vec::new(), BinaryHeap::new());
        Self { segments, filter, cursor, wanted, found, pending, numbers: 0 }
    }

    /// Has this looked at, if anything in it can fit.
    pub(super) fn push(&mut self, min_ns: i64, max_ns: i64, todo: Todo) {
        let newer = self.cursor.is_some_and(|cursor| min_ns > cursor.ts_ns);
        if !newer && self.filter.overlaps(min_ns, max_ns) {
            self.numbers += 1;
            self.pending.push(Pending(max_ns, Reverse(self.numbers), todo));
        }
    }

    /// Keeps what can be on the page, in order.
    fn add(&mut self, found: impl IntoIterator<Item = Found>) {
        self.found.extend(found);
        self.found.sort_unstable_by_key(|found| Reverse(found.order));
        self.found.truncate(self.wanted);
    }

    /// Whether nothing that is this old can come onto the page.
    fn done_with(&self, max_ns: i64) -> bool {
        self.found.len() >= self.wanted && self.found.last().is_some_and(|last| last.order.ts_ns > max_ns)
    }

    /// Looks until the page is full or the time is over; then returns the latest `ts` that was not looked at.
    pub(super) async fn run(&mut self, deadline: Instant) -> Result<Option<i64>, Trouble> {
        let widest = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
        let mut width = 1;
        loop {
            let mut wave = Vec::new();
            while wave.len() < width {
                match self.pending.peek() {
                    Some(next) if !self.done_with(next.0) => {}
                    _ => break,
                }
                let Some(Pending(max_ns, _, todo)) = self.pending.pop() else { break };
                let bound = wave.first().map_or(max_ns, |(first, ..): &(i64, Arc<Segment>, usize)| *first);
                // Whoever comes back with the next cursor must get further than this time.
                let further = self.cursor.is_none_or(|cursor| bound < cursor.ts_ns);
                if further && Instant::now() >= deadline {
                    return Ok(Some(bound));
                }
                match todo {
                    Todo::Block(block) => self.look_at_block(block).await?,
                    Todo::Segment(segment) => self.open(&segment).await?,
                    Todo::RowGroup(segment, number) => wave.push((max_ns, segment, number)),
                }
            }
            if wave.is_empty() {
                return Ok(None);
            }
            let looks = wave.iter().map(|(_, segment, number)| self.look(segment, *number));
            let found = try_join_all(looks).await?;
            self.add(found.into_iter().flatten());
            width = (width * 2).min(widest);
        }
    }

    /// Looks at what is not sealed: to make its rows, and to find text in them, takes its time.
    async fn look_at_block(&mut self, block: Arc<Block>) -> Result<(), Trouble> {
        let (filter, cursor, looked_at) = (self.filter.clone(), self.cursor, Arc::clone(&block));
        let look = move || {
            let batch = looked_at.batch()?;
            let rows = filter.text_rows(&batch, filter.rows(&batch));
            let Some((uuid, ts)) = order_columns(&batch) else { return Ok(Vec::new()) };
            let order =
                |row: usize| Uuid::parse(uuid.value(row)).map(|uuid| Cursor { ts_ns: ts.value(row), uuid });
            let fits = |order: &Cursor| cursor.is_none_or(|cursor| *order < cursor);
            let rows = rows.into_iter().filter_map(|row| Some((row, order(row).filter(fits)?)));
            anyhow::Ok(rows.collect())
        };
        let rows = tokio::task::spawn_blocking(look).await.map_err(|error| Trouble::Place(error.into()))?;
        let rows = rows.map_err(Trouble::Place)?;
        self.add(rows.into_iter().map(|(row, order)| {
            let at = At::Unsealed { block: Arc::clone(&block), row };
            Found { order, at }
        }));
        Ok(())
    }

    async fn open(&mut self, segment: &Arc<Segment>) -> Result<(), Trouble> {
        let footer = self.segments.footer(segment).await?;
        for (number, group) in footer.row_groups().iter().enumerate() {
            if self.may_fit(group) {
                let (min_ns, max_ns) = times(group).unwrap_or((segment.min_ns, segment.max_ns));
                self.push(min_ns, max_ns, Todo::RowGroup(Arc::clone(segment), number));
            }
        }
        Ok(())
    }

    fn may_fit(&self, group: &RowGroupMetaData) -> bool {
        let texts = [
            ("service", &self.filter.service),
            ("instance", &self.filter.instance),
            ("protocol", &self.filter.protocol),
            ("method", &self.filter.method),
        ];
        let texts = texts.into_iter().all(|(name, wanted)| {
            wanted.as_ref().is_none_or(|wanted| may_hold(group, name, wanted.as_bytes(), wanted.as_bytes()))
        });
        let status = self.filter.status.as_ref().is_none_or(|wanted| match statistics(group, "status") {
            Some(Statistics::Int32(told)) => match (told.min_opt(), told.max_opt()) {
                (Some(min), Some(max)) => min <= wanted.end() && max >= wanted.start(),
                _ => true,
            },
            _ => true,
        });
        let duration =
            self.filter.min_duration_ns.is_none_or(|least| match statistics(group, "duration_ns") {
                Some(Statistics::Int64(told)) => told.max_opt().is_none_or(|max| *max >= least),
                _ => true,
            });
        texts && status && duration
    }

    /// The newest rows of a row group that fit, as many as can be on the page.
    async fn look(&self, segment: &Arc<Segment>, number: usize) -> Result<Vec<Found>, Trouble> {
        let mut columns = self.filter.columns();
        columns.push("ts");
        let narrow = self.segments.read(segment, number, Some(&columns), None, Texts::Keyed).await?;
        let damaged = || Trouble::Damaged(Arc::clone(segment));
        let ts = narrow.column_by_name("ts").and_then(|ts| ts.as_primitive_opt::<TimestampNanosecondType>());
        let ts = ts.ok_or_else(damaged)?.values();
        let ts_of = |row: usize| ts.get(row).copied().unwrap_or(i64::MIN);
        let mut rows = self.filter.rows(&narrow);
        if let Some(cursor) = self.cursor {
            rows.retain(|row| ts_of(*row) <= cursor.ts_ns);
        }
        if self.found.len() >= self.wanted
            && let Some(last) = self.found.last()
        {
            rows.retain(|row| ts_of(*row) >= last.order.ts_ns);
        }
        // Rows at the very time of the cursor may lie on either side of it.
        let tied = |row: &&usize| self.cursor.is_some_and(|cursor| ts_of(**row) == cursor.ts_ns);
        let wanted = self.wanted + rows.iter().filter(tied).count();
        let rows = self.with_text(segment, number, rows, wanted).await?;
        let rows = rows.get(rows.len().saturating_sub(wanted)..).unwrap_or_default();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let order = self.segments.read(segment, number, Some(&["uuid"]), Some(rows), Texts::Plain).await?;
        let uuid =
            order.column_by_name("uuid").and_then(|uuid| uuid.as_string_opt::<i32>()).ok_or_else(damaged)?;
        let mut found = Vec::with_capacity(rows.len());
        for (row, uuid) in rows.iter().zip(uuid) {
            let uuid = uuid.and_then(Uuid::parse).ok_or_else(damaged)?;
            let order = Cursor { ts_ns: ts_of(*row), uuid };
            if self.cursor.is_none_or(|cursor| order < cursor) {
                let at = At::Sealed { segment: Arc::clone(segment), row_group: number, row: *row };
                found.push(Found { order, at });
            }
        }
        Ok(found)
    }

    /// The newest `wanted` of these rows that have the text.
    async fn with_text(
        &self,
        segment: &Arc<Segment>,
        number: usize,
        rows: Vec<usize>,
        wanted: usize,
    ) -> Result<Vec<usize>, Trouble> {
        if self.filter.text.is_none() {
            return Ok(rows);
        }
        let mut kept = Vec::new();
        for chunk in rows.rchunks(TEXT_ROWS) {
            let columns = Some(&Filter::TEXT_COLUMNS[..]);
            let batch = self.segments.read(segment, number, columns, Some(chunk), Texts::Plain).await?;
            let has = self.filter.text_rows(&batch, (0..batch.num_rows()).collect());
            let mut newest: Vec<_> = has.into_iter().filter_map(|at| chunk.get(at).copied()).collect();
            newest.append(&mut kept);
            kept = newest;
            if kept.len() >= wanted {
                break;
            }
        }
        Ok(kept)
    }
}

fn statistics<'a>(group: &'a RowGroupMetaData, name: &str) -> Option<&'a Statistics> {
    group.columns().iter().find(|column| column.column_path().string() == name)?.statistics()
}

fn times(group: &RowGroupMetaData) -> Option<(i64, i64)> {
    match statistics(group, "ts")? {
        Statistics::Int64(told) => Some((*told.min_opt()?, *told.max_opt()?)),
        _ => None,
    }
}

/// Whether a text between these may be in the column; bounds that were cut short are still bounds.
pub(super) fn may_hold(group: &RowGroupMetaData, name: &str, low: &[u8], high: &[u8]) -> bool {
    let Some(told) = statistics(group, name) else { return true };
    match (told.min_bytes_opt(), told.max_bytes_opt()) {
        (Some(min), Some(max)) => min <= high && max >= low,
        _ => true,
    }
}
