//! The table `exchanges` for DataFusion: the segments of one snapshot, and what is not sealed yet.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DFSchema, DataFusionError, Result, ScalarValue, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;
use object_store::ObjectStore;
use url::Url;

use crate::store::place::Place;
use crate::store::schema::{COLUMNS, schema};
use crate::store::{Segment, Snapshot};

/// What the segments are called within a plan; nothing else can be opened.
pub(super) const SEGMENTS_URL: &str = "wayside://segments/";

/// Gives out the segments and nothing else: no file, no URL.
#[derive(Debug)]
pub(super) struct OnlySegments(pub(super) Arc<dyn ObjectStore>);

impl ObjectStoreRegistry for OnlySegments {
    fn register_store(&self, _: &Url, _: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        if url.as_str().starts_with(SEGMENTS_URL.trim_end_matches('/')) {
            Ok(Arc::clone(&self.0))
        } else {
            Err(DataFusionError::Plan("there is nothing but the table exchanges".to_owned()))
        }
    }
}

/// One snapshot as a table.
pub(super) struct Exchanges {
    pub(super) snapshot: Snapshot,
    pub(super) place: Place,
}

impl fmt::Debug for Exchanges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Exchanges")
    }
}

impl Exchanges {
    fn file(&self, segment: &Segment) -> PartitionedFile {
        let key = self.place.key(&segment.path);
        PartitionedFile::new(key.to_string(), segment.bytes).with_statistics(Arc::new(statistics(segment)))
    }
}

/// What the catalog knows: enough to leave whole segments out by their time.
fn statistics(segment: &Segment) -> Statistics {
    let time = |ns: i64| Precision::Exact(ScalarValue::TimestampNanosecond(Some(ns), Some("UTC".into())));
    let columns = COLUMNS.iter().map(|column| match column.name {
        "ts" => ColumnStatistics {
            min_value: time(segment.min_ns),
            max_value: time(segment.max_ns),
            null_count: Precision::Exact(0),
            ..ColumnStatistics::new_unknown()
        },
        _ => ColumnStatistics::new_unknown(),
    });
    Statistics {
        num_rows: usize::try_from(segment.rows).map_or(Precision::Absent, Precision::Exact),
        total_byte_size: Precision::Absent,
        column_statistics: columns.collect(),
    }
}

#[async_trait]
impl TableProvider for Exchanges {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // The scan leaves out what cannot fit; the filter above it decides.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let blocks = self.snapshot.blocks.iter();
        let unsealed = blocks.map(|block| block.batch()).collect::<Result<Vec<_>, _>>()?;
        let unsealed = MemorySourceConfig::try_new_exec(&[unsealed], schema(), projection.cloned())?;
        if self.snapshot.segments.is_empty() {
            return Ok(unsealed);
        }
        let mut source = ParquetSource::new(schema())
            .with_pushdown_filters(true)
            .with_reorder_filters(true)
            .with_enable_page_index(true)
            .with_bloom_filter_on_read(true);
        if let Some(filter) = conjunction(filters.to_vec()) {
            let schema = DFSchema::try_from(schema())?;
            source = source.with_predicate(state.create_physical_expr(filter, &schema)?);
        }
        let width = state.config().target_partitions().max(1);
        let groups = (0..width)
            .map(|group| self.snapshot.segments.iter().skip(group).step_by(width))
            .map(|segments| FileGroup::new(segments.map(|segment| self.file(segment)).collect()))
            .filter(|group| !group.is_empty());
        let sealed = FileScanConfigBuilder::new(ObjectStoreUrl::parse(SEGMENTS_URL)?, Arc::new(source))
            .with_file_groups(groups.collect())
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        UnionExec::try_new(vec![unsealed, DataSourceExec::from_data_source(sealed)])
    }
}
