//! Pages of exchanges, newest first, at the cost of the newest row groups only.
//!
//! Row groups, and blocks of what is not sealed, are looked at in the order of their latest `ts`. Of a row group, the
//! few columns that the filter needs are read first; then the UUIDs of what fits; and whole rows only of what is on the
//! page. A page is done once everything on it is newer than whatever was not looked at.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use parquet::file::metadata::ParquetMetaData;

use super::search::{At, Found, Search, Todo, may_hold};
use super::segment::{Segments, Texts, Trouble};
use super::{Cursor, Error, Filter, Query};
use crate::store::Segment;
use crate::store::identity::Uuid;
use crate::store::parquet::order_columns;
use crate::store::row::Row;

/// The most that a page can be asked to hold.
pub const MAX_LIMIT: usize = 1000;
/// How long a page may take; it then says how far it came.
pub const TIME_BUDGET: Duration = Duration::from_secs(5);
/// Bytes of rows after which a page ends early.
const PAGE_BYTES: usize = 32 << 20;
/// Rows that are fetched whole at a time.
const FETCH_ROWS: usize = 128;
/// Damaged segments that one question copes with.
const PATIENCE: usize = 64;

/// Rows of one row group, each with its number on the page.
type Wanted = (Arc<Segment>, usize, Vec<(usize, usize)>);

/// Some exchanges, newest first.
#[derive(Debug)]
pub struct Page {
    /// The exchanges.
    pub rows: Vec<Row>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Cursor>,
    /// Whether everything before `next` was looked at for sure; if not, the time was over.
    pub complete: bool,
}

impl Query {
    /// A page of at most `limit` exchanges that fit, newest first, behind the cursor.
    ///
    /// # Errors
    /// When what is stored cannot be reached.
    pub async fn pairs(
        &self,
        filter: &Filter,
        limit: usize,
        cursor: Option<Cursor>,
        budget: Duration,
    ) -> Result<Page, Error> {
        let deadline = Instant::now() + budget;
        for _ in 0..PATIENCE {
            match self.page(filter, limit.clamp(1, MAX_LIMIT), cursor, deadline).await {
                Ok(page) => return Ok(page),
                Err(Trouble::Damaged(segment)) => self.put_aside(&segment).await?,
                Err(Trouble::Place(error)) => return Err(Error::Unreadable(error)),
            }
        }
        Err(Error::Unreadable(anyhow::anyhow!("too many segments are damaged")))
    }

    /// The exchange of this UUID.
    ///
    /// # Errors
    /// When what is stored cannot be reached.
    pub async fn pair(&self, uuid: Uuid) -> Result<Option<Row>, Error> {
        for _ in 0..PATIENCE {
            match self.find(uuid).await {
                Ok(row) => return Ok(row),
                Err(Trouble::Damaged(segment)) => self.put_aside(&segment).await?,
                Err(Trouble::Place(error)) => return Err(Error::Unreadable(error)),
            }
        }
        Err(Error::Unreadable(anyhow::anyhow!("too many segments are damaged")))
    }

    async fn page(
        &self,
        filter: &Filter,
        limit: usize,
        cursor: Option<Cursor>,
        deadline: Instant,
    ) -> Result<Page, Trouble> {
        let snapshot = self.snapshot();
        let mut search = Search::new(&self.segments, filter, cursor, limit + 1);
        for block in snapshot.blocks {
            let (min_ns, max_ns) = block.times();
            search.push(min_ns, max_ns, Todo::Block(block));
        }
        for segment in snapshot.segments {
            search.push(segment.min_ns, segment.max_ns, Todo::Segment(segment));
        }
        let stopped_at = search.run(deadline).await?;
        let mut found = search.found;
        if let Some(bound) = stopped_at {
            found.retain(|found| found.order.ts_ns > bound);
        }
        let more = found.len() > limit;
        found.truncate(limit);
        let (rows, whole) = self.fetch(&found).await?;
        let last = found.get(rows.len().saturating_sub(1)).map(|found| found.order);
        let next = if more || !whole { last } else { stopped_at.map(Cursor::at) };
        Ok(Page { rows, next, complete: more || !whole || stopped_at.is_none() })
    }

    /// The whole rows, as many as a page may hold bytes; and whether these are all.
    async fn fetch(&self, found: &[Found]) -> Result<(Vec<Row>, bool), Trouble> {
        let mut rows: Vec<Row> = Vec::with_capacity(found.len());
        let mut bytes = 0;
        for chunk in found.chunks(FETCH_ROWS) {
            for row in self.fetch_chunk(chunk).await? {
                if bytes > PAGE_BYTES {
                    return Ok((rows, false));
                }
                bytes += row.bytes();
                rows.push(row);
            }
        }
        Ok((rows, true))
    }

    async fn fetch_chunk(&self, found: &[Found]) -> Result<Vec<Row>, Trouble> {
        let mut places: Vec<(usize, Option<Row>)> = Vec::with_capacity(found.len());
        let mut groups: Vec<Wanted> = Vec::new();
        for (number, found) in found.iter().enumerate() {
            match &found.at {
                At::Unsealed { block, row } => {
                    // Whoever found it there made the rows.
                    let made = block.batch().map_err(|error| Trouble::Place(error.into()))?;
                    places.push((number, Row::read(&made, *row)));
                }
                At::Sealed { segment, row_group, row } => {
                    let same = |group: &&mut Wanted| group.0.path == segment.path && group.1 == *row_group;
                    match groups.iter_mut().find(same) {
                        Some(group) => group.2.push((*row, number)),
                        None => groups.push((Arc::clone(segment), *row_group, vec![(*row, number)])),
                    }
                }
            }
        }
        for (segment, row_group, mut wanted) in groups {
            wanted.sort_unstable();
            let rows: Vec<_> = wanted.iter().map(|(row, _)| *row).collect();
            let batch = self.segments.read(&segment, row_group, None, Some(&rows), Texts::Plain).await?;
            for (at, (_, number)) in wanted.iter().enumerate() {
                let row = Row::read(&batch, at).ok_or_else(|| Trouble::Damaged(Arc::clone(&segment)))?;
                places.push((*number, Some(row)));
            }
        }
        places.sort_unstable_by_key(|(number, _)| *number);
        Ok(places.into_iter().filter_map(|(_, row)| row).collect())
    }

    async fn find(&self, uuid: Uuid) -> Result<Option<Row>, Trouble> {
        let snapshot = self.snapshot();
        let text = uuid.to_string();
        for block in snapshot.blocks.iter().rev() {
            if let Some(row) = block.find(uuid).map_err(|error| Trouble::Place(error.into()))? {
                return Ok(Row::read(&row, 0));
            }
        }
        for segment in snapshot.segments.iter().rev() {
            let footer = self.segments.footer(segment).await?;
            for (number, group) in footer.row_groups().iter().enumerate() {
                if !may_hold(group, "uuid", text.as_bytes(), text.as_bytes())
                    || !self.segments.may_hold_uuid(segment, &footer, number, &text).await?
                {
                    continue;
                }
                let batch =
                    self.segments.read(segment, number, Some(&["uuid", "ts"]), None, Texts::Plain).await?;
                if let Some(row) = position(&batch, &text) {
                    let whole = self.segments.read(segment, number, None, Some(&[row]), Texts::Plain).await?;
                    return Ok(Row::read(&whole, 0));
                }
            }
        }
        Ok(None)
    }
}

fn position(batch: &RecordBatch, uuid: &str) -> Option<usize> {
    order_columns(batch)?.0.iter().position(|told| told == Some(uuid))
}

impl Segments {
    async fn may_hold_uuid(
        &self,
        segment: &Arc<Segment>,
        footer: &Arc<ParquetMetaData>,
        row_group: usize,
        uuid: &str,
    ) -> Result<bool, Trouble> {
        let column =
            footer.file_metadata().schema_descr().columns().iter().position(|column| column.name() == "uuid");
        let Some(column) = column else { return Ok(true) };
        let filter = self.bloom_filter(segment, footer, row_group, column).await?;
        Ok(filter.is_none_or(|filter| filter.check(uuid)))
    }
}
