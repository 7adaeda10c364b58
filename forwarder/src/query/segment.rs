//! Reads rows out of segments: which row groups, which columns, which rows; and remembers their footers.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, TryStreamExt as _};
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::bloom_filter::Sbbf;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use tokio::task::JoinSet;

use crate::store::Segment;
use crate::store::place::Place;
use crate::store::schema::{COLUMNS, Layout, schema};

/// Footers that are remembered, in bytes of memory.
const FOOTER_BYTES: usize = 64 << 20;

/// Why a segment cannot be read.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is damaged or gone.
    Damaged(Arc<Segment>),
    /// The place it is in has trouble.
    Place(anyhow::Error),
}

/// How texts are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Texts {
    /// Each by itself.
    Plain,
    /// By dictionary, so that each different one is looked at once.
    Keyed,
}

#[derive(Default)]
struct Footers {
    known: HashMap<String, (Arc<ParquetMetaData>, u64)>,
    bytes: usize,
    clock: u64,
}

impl Footers {
    fn find(&mut self, path: &str) -> Option<Arc<ParquetMetaData>> {
        self.clock += 1;
        let (footer, used) = self.known.get_mut(path)?;
        *used = self.clock;
        Some(Arc::clone(footer))
    }

    fn keep(&mut self, path: &str, footer: &Arc<ParquetMetaData>) {
        self.bytes += footer.memory_size();
        if let Some((old, _)) = self.known.insert(path.to_owned(), (Arc::clone(footer), self.clock)) {
            self.bytes -= old.memory_size();
        }
        while self.bytes > FOOTER_BYTES && self.known.len() > 1 {
            let oldest = self.known.iter().min_by_key(|(_, (_, used))| *used).map(|(path, _)| path.clone());
            let Some((old, _)) = oldest.and_then(|oldest| self.known.remove(&oldest)) else { break };
            self.bytes -= old.memory_size();
        }
    }
}

/// Reads segments.
#[derive(Clone)]
pub(super) struct Segments {
    pub(super) place: Place,
    footers: Arc<Mutex<Footers>>,
    keyed: SchemaRef,
}

impl Segments {
    pub(super) fn new(place: Place) -> Self {
        let schema = schema();
        let fields = schema.fields().iter().zip(COLUMNS).map(|(field, column)| {
            let keyed = column.layout == Layout::Dictionary && field.data_type() == &DataType::Utf8;
            let kind = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
            let kind = if keyed { kind } else { field.data_type().clone() };
            Field::new(field.name(), kind, field.is_nullable())
        });
        let keyed = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Self { place, footers: Arc::default(), keyed }
    }

    fn file(&self, segment: &Segment) -> File {
        File {
            objects: Arc::clone(&self.place.objects),
            key: self.place.key(&segment.path),
            bytes: segment.bytes,
        }
    }

    /// The footer of a segment, with where its pages are.
    pub(super) async fn footer(&self, segment: &Arc<Segment>) -> Result<Arc<ParquetMetaData>, Trouble> {
        if let Some(footer) = self.footers.lock().unwrap_or_else(PoisonError::into_inner).find(&segment.path)
        {
            return Ok(footer);
        }
        let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Required);
        let mut file = self.file(segment);
        let read = async move { file.get_metadata(Some(&options)).await };
        let footer = self.apart(segment, read).await?;
        self.footers.lock().unwrap_or_else(PoisonError::into_inner).keep(&segment.path, &footer);
        Ok(footer)
    }

    /// Rows of one row group as one batch: these columns or all, these rows (in order) or all.
    pub(super) async fn read(
        &self,
        segment: &Arc<Segment>,
        row_group: usize,
        columns: Option<&[&str]>,
        rows: Option<&[usize]>,
        texts: Texts,
    ) -> Result<RecordBatch, Trouble> {
        let footer = self.footer(segment).await?;
        let of_group = footer.row_groups().get(row_group).map_or(0, |group| group.num_rows());
        let of_group = usize::try_from(of_group).unwrap_or(0);
        let file = self.file(segment);
        let options = match texts {
            Texts::Plain => ArrowReaderOptions::new(),
            Texts::Keyed => ArrowReaderOptions::new().with_schema(Arc::clone(&self.keyed)),
        };
        let selection = rows.map(|rows| {
            RowSelection::from_consecutive_ranges(rows.iter().map(|row| *row..row + 1), of_group)
        });
        let mask = match columns {
            Some(columns) => {
                ProjectionMask::columns(footer.file_metadata().schema_descr(), columns.iter().copied())
            }
            None => ProjectionMask::all(),
        };
        let read = async move {
            let metadata = ArrowReaderMetadata::try_new(footer, options)?;
            let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(file, metadata)
                .with_row_groups(vec![row_group])
                .with_batch_size(of_group.max(1))
                .with_projection(mask);
            if let Some(selection) = selection {
                builder = builder.with_row_selection(selection);
            }
            let stream = builder.build()?;
            let schema = Arc::clone(stream.schema());
            let mut batches: Vec<RecordBatch> = stream.try_collect().await?;
            match (batches.pop(), batches.is_empty()) {
                (Some(only), true) => Ok(only),
                (last, _) => Ok(concat_batches(&schema, batches.iter().chain(&last))?),
            }
        };
        self.apart(segment, read).await
    }

    /// The Bloom filter of a column of a row group, if it has one.
    pub(super) async fn bloom_filter(
        &self,
        segment: &Arc<Segment>,
        footer: &Arc<ParquetMetaData>,
        row_group: usize,
        column: usize,
    ) -> Result<Option<Sbbf>, Trouble> {
        let (file, footer) = (self.file(segment), Arc::clone(footer));
        let read = async move {
            let metadata = ArrowReaderMetadata::try_new(footer, ArrowReaderOptions::new())?;
            let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(file, metadata);
            builder.get_row_group_column_bloom_filter(row_group, column).await
        };
        self.apart(segment, read).await
    }

    /// Runs a read on another thread, so that several go on at once and a panic over damaged bytes ends only itself.
    async fn apart<T: Send + 'static>(
        &self,
        segment: &Arc<Segment>,
        read: impl Future<Output = Result<T, ParquetError>> + Send + 'static,
    ) -> Result<T, Trouble> {
        let mut reads = JoinSet::new();
        reads.spawn(read);
        let error = match reads.join_next().await {
            Some(Ok(Ok(value))) => return Ok(value),
            Some(Ok(Err(error))) => error,
            Some(Err(_panicked)) => return Err(Trouble::Damaged(Arc::clone(segment))),
            None => return Err(Trouble::Place(anyhow::anyhow!("a read was never begun"))),
        };
        Err(self.blame(segment, error))
    }

    fn blame(&self, segment: &Arc<Segment>, error: ParquetError) -> Trouble {
        let damaged = match &error {
            ParquetError::External(source) => {
                let gone = source
                    .downcast_ref::<object_store::Error>()
                    .is_some_and(|error| matches!(error, object_store::Error::NotFound { .. }));
                gone || self.place.check(segment).is_err()
            }
            _ => true,
        };
        if damaged {
            tracing::debug!(segment = segment.path, %error, "segment cannot be read");
            Trouble::Damaged(Arc::clone(segment))
        } else {
            Trouble::Place(anyhow::Error::new(error).context("read a segment"))
        }
    }
}

/// One object, to read Parquet from.
#[derive(Clone)]
struct File {
    objects: Arc<dyn ObjectStore>,
    key: Key,
    bytes: u64,
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for File {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move { self.objects.get_range(&self.key, range).await.map_err(external) }.boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move { self.objects.get_ranges(&self.key, &ranges).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let bytes = self.bytes;
            let reader = ParquetMetaDataReader::new()
                .with_arrow_reader_options(options)
                .with_prefetch_hint(Some(128 << 10));
            reader.load_and_finish(self, bytes).await.map(Arc::new)
        }
        .boxed()
    }
}
