//! Keeps exchanges: acknowledged once they are in a log on disk, sealed into Parquet later, visible at once.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use common::wire;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast, oneshot},
    time,
};
use url::Url;

mod background;
pub mod checkpoint;
pub mod columns;
pub mod files;
pub mod generation;
pub mod head;
pub mod identity;
pub mod ledger;
pub mod log;
mod pace;
pub mod parquet;
pub mod place;
mod recover;
pub mod retention;
pub mod row;
#[cfg(test)]
pub(crate) mod samples;
pub mod schema;
mod seal;
mod shared;
pub mod still;
#[cfg(test)]
mod tests;
mod writer;

pub use checkpoint::Segment;
pub use ledger::{Account, Contradiction};
pub use seal::{AtStep, Step};

use checkpoint::Checkpoint;
use common::disk::{FileSystem, is_full};
use files::Files;
use generation::Block;
use shared::{Shared, State};
use writer::{Job, Order, Writer};

/// How a store is kept. [`Options::default`] is the only home of its defaults.
#[derive(Clone, Debug)]
pub struct Options {
    /// `DATA_DIR`: the log, the checkpoint, what was quarantined, and the segments unless `store_url` says else.
    pub data_dir: PathBuf,
    /// `STORE_URL`: where sealed segments go; `None` is `data_dir/segments`.
    pub store_url: Option<Url>,
    /// `CLUSTER_NAME`, in every row.
    pub cluster: String,
    /// `STORE_MAX_BYTES`: sealed segments beyond this are removed, oldest first; 0 for no limit.
    pub max_bytes: u64,
    /// `STORE_MAX_AGE`: sealed segments whose youngest row is older are removed; zero for no limit.
    pub max_age: Duration,
    /// A file of the log is sealed at this size.
    pub seal_bytes: u64,
    /// A file of the log is sealed at this age.
    pub seal_age: Duration,
    /// Bytes of batches that may wait for the log; `append` waits beyond it.
    pub queue_bytes: u32,
    /// Bytes of log that may wait for being sealed; beyond it `append` waits, and is refused in the end.
    pub unsealed_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("/var/lib/wayside/forwarder"),
            store_url: None,
            cluster: String::new(),
            max_bytes: 20 << 30,
            max_age: Duration::from_secs(30 * 24 * 3600),
            seal_bytes: 64 << 20,
            seal_age: Duration::from_secs(60),
            queue_bytes: 64 << 20,
            unsealed_bytes: 256 << 20,
        }
    }
}

/// Why something was not stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refused {
    /// It makes no sense; sending it again is of no use.
    #[error("malformed")]
    Malformed(#[source] Arc<wire::Malformed>),
    /// It does not fit what is known of the proxy; sending it again is of no use.
    #[error("contradiction")]
    Contradiction(#[source] Arc<Contradiction>),
    /// Exchanges before it are missing.
    #[error("the batch begins behind a gap; stored through {stored_through}")]
    Gap {
        /// The proxy goes on behind this one.
        stored_through: u64,
    },
    /// It is longer than a record of the log may be.
    #[error("the batch is too long")]
    TooLong,
    /// The disk or a quota is full; it may be sent again.
    #[error("the disk is full")]
    Full(#[source] Arc<io::Error>),
    /// Too much waits for being sealed; it may be sent again.
    #[error("sealing is behind")]
    Behind,
    /// The log cannot be written; it may be sent again.
    #[error("the log cannot be written")]
    Failing(#[source] Arc<io::Error>),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

impl Refused {
    fn of(error: io::Error) -> Self {
        if is_full(&error) { Self::Full(Arc::new(error)) } else { Self::Failing(Arc::new(error)) }
    }

    /// Whether the same thing may be taken later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Behind | Self::Failing(_) | Self::Closed)
    }
}

impl From<Contradiction> for Refused {
    fn from(contradiction: Contradiction) -> Self {
        match contradiction {
            Contradiction::Gap { stored_through } => Self::Gap { stored_through },
            other => Self::Contradiction(Arc::new(other)),
        }
    }
}

/// How the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// The last write was acknowledged.
    #[default]
    Good,
    /// The last write found the disk full.
    Full,
    /// The last write failed.
    Failing,
}

/// One run of a proxy, as the store knows it.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Its id.
    pub id: String,
    /// Its run.
    pub epoch: u64,
    /// What is known of the run.
    pub state: ledger::Epoch,
}

/// Numbers for metrics; all but `backlog_bytes` only grow while the process lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Files that were put aside because they were damaged.
    pub quarantined_files: u64,
    /// Bytes of the log that were acknowledged and could not be read back.
    pub lost_bytes: u64,
    /// Bytes at the end of the log that were never acknowledged.
    pub torn_bytes: u64,
    /// Rows that were sealed.
    pub sealed_rows: u64,
    /// Bytes of Parquet they became.
    pub sealed_bytes: u64,
    /// Times that sealing failed and is tried again.
    pub seal_failures: u64,
    /// Times that sealing rested, because others wanted the processor.
    pub seal_rests: u64,
    /// Rows that retention removed, ever.
    pub expired_rows: u64,
    /// Rows in damaged segments, ever.
    pub damaged_rows: u64,
    /// Bytes of log that wait for being sealed.
    pub backlog_bytes: u64,
}

/// New rows, for those who follow.
#[derive(Clone, Debug)]
pub struct News {
    /// How many rows came before these since the store was opened.
    pub before: u64,
    /// The rows.
    pub block: Arc<Block>,
}

/// Everything there is to read, at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What is in Parquet.
    pub segments: Vec<Arc<Segment>>,
    /// What is not.
    pub blocks: Vec<Arc<Block>>,
}

/// The store. Clones are the same store.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
    thread: Arc<Mutex<Option<thread::JoinHandle<()>>>>,
    /// Held for as long as the store is open: one daemon per folder.
    _lock: Arc<std::fs::File>,
    checkpoint: Arc<tokio::sync::Mutex<Checkpoint>>,
    place: place::Place,
}

/// How long a batch waits for sealing: not as long as it takes a proxy to give up on its answer.
const SEALING_PATIENCE: Duration = Duration::from_secs(5);

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Store {
    /// Opens the store, makes it if there is none, and reads back what the log holds.
    ///
    /// # Errors
    /// When the folder cannot be used or belongs to another process. Damaged files are no error: they are put
    /// aside, told and counted.
    pub fn open(options: Options) -> anyhow::Result<Self> {
        Self::open_on(options, Box::new(FileSystem))
    }

    /// As [`Store::open`], on a disk that a test may let fail.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(options: Options, disk: Box<dyn Files>) -> anyhow::Result<Self> {
        let recovered = recover::recover(&options)?;
        let staged = recovered.ledger.clone();
        let (news, _) = broadcast::channel(256);
        let room = Arc::new(Semaphore::new(options.queue_bytes as usize));
        let backlog = recovered.full.iter().map(|full| full.generation.log_bytes).sum();
        let state = State {
            ledger: recovered.ledger,
            full: recovered.full.into_iter().map(Arc::new).collect(),
            segments: recovered.checkpoint.segments.iter().cloned().map(Arc::new).collect(),
            counters: recovered.counters,
            ..State::default()
        };
        let folder = recover::log_folder(&options.data_dir);
        let state = RwLock::new(state);
        let shared = Arc::new(Shared {
            options,
            state,
            backlog: AtomicU64::new(backlog),
            full: Notify::new(),
            sealed: Notify::new(),
            closed: AtomicBool::new(false),
            news,
        });
        shared.full.notify_one();
        let (jobs, orders) = mpsc::channel();
        let writer =
            Writer::new(Arc::clone(&shared), disk, folder, orders, staged, recovered.next_generation);
        let thread = thread::Builder::new().name("log".to_owned()).spawn(move || writer.run())?;
        Ok(Self {
            shared,
            jobs,
            room,
            thread: Arc::new(Mutex::new(Some(thread))),
            _lock: Arc::new(recovered.lock),
            checkpoint: Arc::new(tokio::sync::Mutex::new(recovered.checkpoint)),
            place: recovered.place,
        })
    }

    /// Makes a batch durable and visible; resolves once it is, with the last sequence that is stored.
    ///
    /// # Errors
    /// [`Refused`], and nothing of the batch was stored.
    pub async fn append(&self, request: wire::CaptureRequest) -> Result<u64, Refused> {
        self.submit(request).await?.await
    }

    /// As [`Store::append`], in two steps: resolves once the batch has its place in the order of the log, and
    /// what it resolves to once it is durable.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub async fn submit(
        &self,
        request: wire::CaptureRequest,
    ) -> Result<impl Future<Output = Result<u64, Refused>> + use<>, Refused> {
        if request.exchanges.len() > log::MAX_PAYLOAD_BYTES - (1 << 20) {
            return Err(Refused::TooLong);
        }
        let places = request.places().map_err(|error| Refused::Malformed(Arc::new(error)))?;
        time::timeout(SEALING_PATIENCE, self.shared.sealing_keeps_up())
            .await
            .map_err(|_late| Refused::Behind)?;
        let bytes = u32::try_from(request.exchanges.len()).unwrap_or(u32::MAX);
        let room =
            Arc::clone(&self.room).acquire_many_owned(bytes.min(self.shared.options.queue_bytes)).await;
        self.enqueue(Order::Batch(request, places), Some(room.map_err(|_closed| Refused::Closed)?))
    }

    /// A proxy made itself known; resolves, once that is durable, with the last sequence that is stored of its run.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn register(&self, told: wire::RegisterRequest) -> Result<u64, Refused> {
        self.order(Order::Register(told)).await
    }

    /// A proxy renewed its lease and brought its numbers; resolves once what is new of them is durable.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn check_in(&self, told: wire::CheckInRequest) -> Result<(), Refused> {
        self.order(Order::CheckIn(told)).await.map(drop)
    }

    /// A proxy was not heard of for too long: what it still held counts as cut, until it is heard of again.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn reap(&self, proxy_id: &str, epoch: u64) -> Result<(), Refused> {
        let told = wire::CheckInRequest { proxy_id: proxy_id.to_owned(), epoch, ..Default::default() };
        self.order(Order::Reap(told)).await.map(drop)
    }

    /// Ends the current file of the log, so that [`Store::run`] seals it.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn roll(&self) -> Result<(), Refused> {
        self.order(Order::Roll).await.map(drop)
    }

    async fn order(&self, order: Order) -> Result<u64, Refused> {
        self.enqueue(order, None)?.await
    }

    fn enqueue(
        &self,
        order: Order,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<impl Future<Output = Result<u64, Refused>> + use<>, Refused> {
        let (reply, answer) = oneshot::channel();
        let job = Job { order, at_ms: now_ms(), reply, room };
        self.jobs.send(job).map_err(|_closed| Refused::Closed)?;
        Ok(async move { answer.await.map_err(|_closed| Refused::Closed)? })
    }

    /// Seals full files of the log and removes what is too old, until the store is closed. Drive it beside the server.
    pub async fn run(&self) {
        self.sealing().await;
    }

    /// The accounts, by proxy id: seen = stored + filtered + dropped + in flight, to the unit.
    pub fn accounting(&self) -> BTreeMap<String, Account> {
        self.shared.read(|state| state.ledger.accounting())
    }

    /// Every run of every proxy.
    pub fn proxies(&self) -> Vec<Proxy> {
        self.shared.read(|state| {
            let runs = state.ledger.epochs();
            runs.map(|(id, epoch, state)| Proxy { id: id.to_owned(), epoch, state: state.clone() }).collect()
        })
    }

    /// How the log is.
    pub fn health(&self) -> Health {
        self.shared.read(|state| state.health)
    }

    /// Numbers for metrics.
    pub fn counters(&self) -> Counters {
        let counters = self.shared.read(|state| state.counters);
        Counters { backlog_bytes: self.shared.backlog_bytes(), ..counters }
    }

    /// Everything there is to read, at this moment.
    pub fn snapshot(&self) -> Snapshot {
        self.shared.read(|state| {
            let full = state.full.iter().flat_map(|full| full.generation.blocks());
            Snapshot { segments: state.segments.clone(), blocks: full.chain(state.open.blocks()).collect() }
        })
    }

    /// Where sealed segments are.
    pub fn place(&self) -> place::Place {
        self.place.clone()
    }

    /// Follows what is stored from now on. Who is too slow misses rows, and can tell how many.
    pub fn follow(&self) -> broadcast::Receiver<News> {
        self.shared.news.subscribe()
    }

    /// Answers what was asked before, and ends. What is not sealed yet is in the log.
    pub async fn close(&self) {
        // An error means that it is closed already.
        drop(self.order(Order::Close).await);
        self.room.close();
        self.shared.closed.store(true, Ordering::Release);
        self.shared.full.notify_one();
        self.shared.sealed.notify_waiters();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It has answered and has nothing left to do. A panic in it was told by the panic hook.
            drop(thread.join());
        }
    }
}
