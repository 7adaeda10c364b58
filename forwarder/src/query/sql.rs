//! SQL over the table `exchanges`: read only, one statement, within limits of time, memory, rows and bytes.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::json::WriterBuilder;
use arrow::json::writer::JsonArray;
use datafusion::common::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use futures::TryStreamExt as _;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::segment::{Texts, Trouble};
use super::table::{Exchanges, OnlySegments};
use super::{Error, Query};

/// What one question may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time until the answer.
    pub time: Duration,
    /// Memory for sorting, grouping and joining.
    pub memory_bytes: usize,
    /// Rows of the answer.
    pub rows: usize,
    /// Bytes of the answer in memory.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_secs(10), memory_bytes: 256 << 20, rows: 10_000, bytes: 32 << 20 }
    }
}

/// The longest text that is read.
const MAX_TEXT_BYTES: usize = 16 << 10;
/// Nested expressions are walked by recursion.
const STACK_BYTES: usize = 64 << 20;

/// A column of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its Arrow type.
    #[serde(rename = "type")]
    pub kind: String,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The columns, in order.
    pub columns: Vec<Column>,
    /// The rows; bytes are in hexadecimal, times as RFC 3339 has them.
    pub rows: Vec<Map<String, Value>>,
    /// Whether there were more rows than are given.
    pub truncated: bool,
}

/// How a question is made into a plan.
pub(super) type Ask = Box<dyn FnOnce(SessionContext) -> Planned + Send>;
/// The plan.
pub(super) type Planned = futures::future::BoxFuture<'static, Result<DataFrame, DataFusionError>>;

impl Query {
    /// Answers a question in SQL.
    ///
    /// # Errors
    /// [`Error::Refused`] for anything that is not one statement that only reads, and for mistakes in it; the
    /// others when a limit is reached or what is stored cannot be read.
    pub async fn sql(&self, text: &str, limits: Limits) -> Result<Answer, Error> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(Error::Refused(format!("the statement is longer than {MAX_TEXT_BYTES} bytes")));
        }
        let text = text.to_owned();
        self.ask(limits, move || {
            let text = text.clone();
            Box::new(move |context| {
                Box::pin(async move {
                    let only_read = SQLOptions::new()
                        .with_allow_ddl(false)
                        .with_allow_dml(false)
                        .with_allow_statements(false);
                    context.sql_with_options(&text, only_read).await
                })
            })
        })
        .await
    }

    /// Asks; if a segment turns out damaged, puts it aside and asks once more.
    pub(super) async fn ask(&self, limits: Limits, question: impl Fn() -> Ask) -> Result<Answer, Error> {
        match self.ask_once(limits, question()).await {
            Err(Error::Unreadable(_)) if self.weed().await? => self.ask_once(limits, question()).await,
            other => other,
        }
    }

    async fn ask_once(&self, limits: Limits, ask: Ask) -> Result<Answer, Error> {
        let place = self.segments.place.clone();
        let registry = OnlySegments(Arc::clone(&place.objects));
        let table = Exchanges { snapshot: self.snapshot(), place };
        let seat = Arc::clone(&self.seats).acquire_owned();
        let seat =
            tokio::time::timeout(limits.time, seat).await.map_err(|_elapsed| Error::Late(limits.time))?;
        let runtime = tokio::runtime::Handle::current();
        let (reply, answer) = oneshot::channel();
        // A thread of its own: planning is computation without a pause, and recursive.
        let work = move || {
            let context = context(limits, registry);
            let answer = runtime.block_on(async {
                let answer = async {
                    let context = context?;
                    context.register_table("exchanges", Arc::new(table))?;
                    collect(ask(context).await?, limits).await
                };
                // Whoever asked has gone by then; this ends the work.
                match tokio::time::timeout(limits.time, answer).await {
                    Err(_elapsed) => Err(Error::Late(limits.time)),
                    Ok(answer) => answer.map_err(blame),
                }
            });
            drop(reply.send(answer));
            drop(seat);
        };
        std::thread::Builder::new()
            .name("sql".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(work)
            .map_err(|error| Error::Unreadable(error.into()))?;
        match tokio::time::timeout(limits.time, answer).await {
            Err(_elapsed) => Err(Error::Late(limits.time)),
            Ok(Err(_panicked)) => Err(Error::Unreadable(anyhow::anyhow!("the query panicked"))),
            Ok(Ok(answer)) => answer,
        }
    }

    /// Reads every segment and puts the damaged ones aside. Returns whether there was one.
    async fn weed(&self) -> Result<bool, Error> {
        let mut found = false;
        for segment in self.snapshot().segments {
            let look = async {
                let groups = self.segments.footer(&segment).await?.num_row_groups();
                for group in 0..groups {
                    self.segments.read(&segment, group, None, None, Texts::Plain).await?;
                }
                Ok(())
            };
            match look.await {
                Ok(()) => {}
                Err(Trouble::Damaged(segment)) => {
                    found = true;
                    self.put_aside(&segment).await?;
                }
                Err(Trouble::Place(error)) => return Err(Error::Unreadable(error)),
            }
        }
        Ok(found)
    }
}

fn context(limits: Limits, registry: OnlySegments) -> Result<SessionContext, DataFusionError> {
    let width = std::thread::available_parallelism().map_or(2, NonZeroUsize::get).min(4);
    let mut config = SessionConfig::new().with_information_schema(true).with_target_partitions(width);
    config.options_mut().execution.parquet.pushdown_filters = true;
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(limits.memory_bytes)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
        .with_object_store_registry(Arc::new(registry))
        .build_arc()?;
    Ok(SessionContext::new_with_config_rt(config, runtime))
}

async fn collect(frame: DataFrame, limits: Limits) -> Result<Answer, DataFusionError> {
    let columns = frame
        .schema()
        .fields()
        .iter()
        .map(|field| Column { name: field.name().clone(), kind: field.data_type().to_string() });
    let columns = columns.collect();
    let mut stream = frame.execute_stream().await?;
    let (mut rows, mut bytes, mut truncated) = (Vec::new(), 0, false);
    while let Some(batch) = stream.try_next().await? {
        let room = limits.rows - rows.len();
        truncated = batch.num_rows() > room;
        let batch = batch.slice(0, room.min(batch.num_rows()));
        let json = to_json(&batch)?;
        bytes += json.len();
        rows.extend(serde_json::from_slice::<Vec<Map<String, Value>>>(&json).unwrap_or_default());
        if truncated || bytes > limits.bytes {
            truncated = true;
            break;
        }
    }
    Ok(Answer { columns, rows, truncated })
}

fn to_json(batch: &RecordBatch) -> Result<Vec<u8>, DataFusionError> {
    if batch.num_rows() == 0 {
        return Ok(b"[]".to_vec());
    }
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    Ok(writer.into_inner())
}

fn blame(error: DataFusionError) -> Error {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => Error::Memory,
        DataFusionError::ParquetError(_)
        | DataFusionError::ObjectStore(_)
        | DataFusionError::IoError(_)
        | DataFusionError::ExecutionJoin(_)
        | DataFusionError::External(_) => Error::Unreadable(anyhow::Error::new(error)),
        other => Error::Refused(other.strip_backtrace()),
    }
}
