//! The durable queue: what is accepted is on disk first, and leaves in order for each agent.

mod budget;
mod dead;
mod frame;
mod index;
mod lanes;
mod ledger;
mod marks;
mod recover;
mod store;
mod writer;

pub mod list;

use std::{
    collections::HashSet,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use common::{disk::FileSystem, quiet::Quiet};
use tokio::sync::{Notify, oneshot};

pub use self::ledger::Balance;
use self::{
    dead::Dead,
    lanes::Lanes,
    recover::recover,
    store::{Next, Store},
    writer::{Full, Incoming, Writer},
};
pub(crate) use self::{dead::DeadLetter, ledger::Agent, store::Stored};

/// How often it is written down what is delivered: so much may be sent twice after a crash.
const SETTLE: Duration = Duration::from_millis(200);
/// How much is written at once at most, beside one body that is larger.
const GROUP_BYTES: usize = 4 << 20;
const GROUP_RECORDS: usize = 1024;
/// How long a failed disk is left alone.
const HEAL: Duration = Duration::from_millis(500);

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    /// In all.
    pub(crate) bytes: u64,
    /// Of one agent.
    pub(crate) agent_bytes: u64,
}

/// Why a request was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The queue has as much as it may have.
    QueueFull,
    /// This agent has as much as it may have.
    AgentFull,
    /// The disk failed or is full.
    Disk,
    /// The daemon ends.
    Closed,
}

enum Order {
    Keep(Incoming, oneshot::Sender<Result<(), Refusal>>),
    Settle(oneshot::Sender<()>),
}

/// See the module.
pub(crate) struct Queue {
    store: Arc<Store>,
    dead: Dead,
    /// Dead letters that a crash made queued records again: they are none if they are delivered now.
    undead: Mutex<HashSet<(u32, u64)>>,
    lanes: Mutex<Lanes>,
    arrived: Notify,
    orders: mpsc::Sender<Order>,
}

/// Reads bytes as a file of records.
pub(crate) fn read_anything(bytes: &[u8]) {
    let head = frame::read_file_head(bytes).unwrap_or_default();
    let mut ledger = ledger::Ledger::default();
    for (_, record) in frame::read(bytes, 0, head.mark).records {
        marks::apply(&record, &mut ledger);
    }
    ledger.balance();
}

/// Reads bytes as an index.
pub(crate) fn read_index(bytes: &[u8]) {
    index::check(bytes);
}

/// The wall clock, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Queue {
    /// Opens the queue in this folder, and starts the thread that writes to it.
    pub(crate) fn open(folder: &Path, quota: Quota) -> anyhow::Result<Arc<Self>> {
        let disk = Arc::new(FileSystem);
        let dead = Dead::open(&folder.join("dead"))?;
        let (store, found) = recover(disk, &folder.join("queue"))?;
        if found.lost_bytes > 0 {
            tracing::error!(bytes = found.lost_bytes, "a part of the queue is damaged and cannot be read");
        }
        let store = Arc::new(store);
        let writer = Writer::new(Arc::clone(&store), &found, Full::default());
        let (orders, inbox) = mpsc::channel();
        let mut undead: HashSet<_> = dead.numbers()?.into_iter().collect();
        undead.retain(|(agent, number)| store.state().ledger.agent(*agent).done.number < *number);
        let mut lanes = Lanes::default();
        for (number, agent) in store.state().ledger.agents().filter(|(_, agent)| agent.queued() > 0) {
            lanes.arrived(number, agent.queued());
        }
        let queue = Arc::new(Self {
            store,
            dead,
            undead: Mutex::new(undead),
            lanes: Mutex::new(lanes),
            arrived: Notify::new(),
            orders,
        });
        let own = Arc::downgrade(&queue);
        thread::Builder::new().name("queue".to_owned()).spawn(move || {
            let told = |agents: &[u32]| {
                if let Some(queue) = own.upgrade() {
                    queue.tell(agents);
                }
            };
            write(writer, &inbox, quota, &told);
        })?;
        Ok(queue)
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queued(&self, agent: u32) -> u64 {
        self.store.state().ledger.look(agent).map_or(0, Agent::queued)
    }

    fn tell(&self, agents: &[u32]) {
        let queued: Vec<_> = agents.iter().map(|agent| (*agent, self.queued(*agent))).collect();
        let mut lanes = self.lanes();
        queued.into_iter().for_each(|(agent, queued)| lanes.arrived(agent, queued));
        drop(lanes);
        self.arrived.notify_waiters();
    }

    /// Keeps a request: on disk when this returns, unless it is refused.
    pub(crate) async fn keep(&self, agent: String, head: Vec<u8>, body: Bytes) -> Result<(), Refusal> {
        self.put(Incoming { agent, head, body, time_ms: now_ms(), is_replayed: false }).await
    }

    async fn put(&self, incoming: Incoming) -> Result<(), Refusal> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order::Keep(incoming, answer)).map_err(|_| Refusal::Closed)?;
        answered.await.unwrap_or(Err(Refusal::Closed))
    }

    /// Waits for an agent whose turn it is. It has to be given back.
    pub(crate) async fn take(&self) -> u32 {
        loop {
            let arrived = self.arrived.notified();
            let mut arrived = std::pin::pin!(arrived);
            arrived.as_mut().enable();
            let (taken, next) = {
                let mut lanes = self.lanes();
                (lanes.take(Instant::now(), |agent| self.queued(agent)), lanes.next())
            };
            if let Some(agent) = taken {
                return agent;
            }
            let next = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(60));
            // A timeout is as good as an arrival.
            tokio::time::timeout_at(next.into(), arrived).await.ok();
        }
    }

    /// The first record of an agent; an error of kind `ResourceBusy` when there is no memory for it just now.
    /// Records that cannot be read any more are told and passed over.
    pub(crate) fn first(&self, agent: u32) -> io::Result<Option<Stored>> {
        loop {
            match self.store.next(agent)? {
                Next::Record(stored) => return Ok(Some(stored)),
                Next::Empty => return Ok(None),
                Next::Busy => return Err(io::ErrorKind::ResourceBusy.into()),
                Next::Lost(position, near) => {
                    tracing::error!(agent, up_to = position.number, "queued records are damaged or missing");
                    self.store.done(agent, position, near, true);
                }
            }
        }
    }

    /// The record is delivered.
    pub(crate) fn delivered(&self, agent: u32, stored: &Stored) {
        let number = stored.position.number;
        if self.undead.lock().unwrap_or_else(PoisonError::into_inner).remove(&(agent, number)) {
            // Left behind, it would be put back one day, and come twice.
            self.dead.remove(&format!("{agent}-{number}")).ok();
        }
        let queued = self.store.done(agent, stored.position, stored.segment, false);
        self.give_back(agent, queued);
    }

    /// The record is put aside, durably, and the agent goes on with the next one.
    pub(crate) fn bury(&self, agent: u32, stored: &Stored, reason: &str) -> io::Result<()> {
        let name = self.store.state().ledger.agent(agent).name;
        self.dead.put(agent, &name, stored, reason)?;
        let queued = self.store.done(agent, stored.position, stored.segment, true);
        self.give_back(agent, queued);
        Ok(())
    }

    /// Nothing was there after all.
    pub(crate) fn give_back(&self, agent: u32, queued: u64) {
        self.lanes().done(agent, queued);
        if queued > 0 {
            self.arrived.notify_one();
        }
    }

    /// The agent's first record is to be tried again then.
    pub(crate) fn retry(&self, agent: u32, when: Instant) {
        self.lanes().retry(agent, when);
        self.arrived.notify_one();
    }

    /// The other side is back: everybody who waits may try.
    pub(crate) fn wake(&self) {
        self.lanes().wake(Instant::now());
        self.arrived.notify_waiters();
    }

    /// The dead letters, in order.
    pub(crate) fn dead_letters(&self) -> io::Result<Vec<DeadLetter>> {
        self.dead.list()
    }

    /// Forgets a dead letter; it still counts as one.
    pub(crate) fn remove_dead(&self, id: &str) -> io::Result<bool> {
        self.dead.remove(id)
    }

    /// Puts a dead letter back into the queue, behind what its agent has there.
    pub(crate) async fn replay_dead(&self, id: &str) -> io::Result<Option<Result<(), Refusal>>> {
        let Some((agent, head, body)) = self.dead.read(id)? else { return Ok(None) };
        let incoming = Incoming { agent, head, body: body.into(), time_ms: now_ms(), is_replayed: true };
        let put = self.put(incoming).await;
        if put.is_ok() {
            self.dead.remove(id)?;
        }
        Ok(Some(put))
    }

    /// The balance sheet.
    pub(crate) fn balance(&self) -> Balance {
        self.store.state().ledger.balance()
    }

    /// Every agent.
    pub(crate) fn agents(&self) -> Vec<Agent> {
        self.store.state().ledger.agents().map(|(_, agent)| agent.clone()).collect()
    }

    /// The name of an agent.
    pub(crate) fn name(&self, agent: u32) -> String {
        self.store.state().ledger.agent(agent).name
    }

    /// Bytes that wait.
    pub(crate) fn queued_bytes(&self) -> u64 {
        self.store.state().ledger.queued_bytes()
    }

    /// Writes down everything that is done.
    pub(crate) async fn settle(&self) {
        let (answer, answered) = oneshot::channel();
        if self.orders.send(Order::Settle(answer)).is_ok() {
            answered.await.ok();
        }
    }
}

/// The thread that writes: everything that came while the disk was busy goes into the next group.
fn write(mut writer: Writer, inbox: &mpsc::Receiver<Order>, quota: Quota, told: &dyn Fn(&[u32])) {
    let mut settled = Instant::now();
    let mut failed: Option<Instant> = None;
    loop {
        let mut group = Vec::new();
        let mut answers = Vec::new();
        let mut settlers = Vec::new();
        let mut bytes = 0;
        let mut order = match inbox.recv_timeout(SETTLE.saturating_sub(settled.elapsed())) {
            Ok(order) => Some(order),
            Err(mpsc::RecvTimeoutError::Timeout) => None,
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        };
        while let Some(taken) = order {
            match taken {
                Order::Keep(incoming, answer) => {
                    bytes += incoming.body.len();
                    group.push(incoming);
                    answers.push(answer);
                }
                Order::Settle(answer) => settlers.push(answer),
            }
            let more = bytes < GROUP_BYTES && group.len() < GROUP_RECORDS;
            order = if more { inbox.try_recv().ok() } else { None };
        }
        if !group.is_empty() {
            let refused = writer.refusals(&group, quota);
            let mut kept = Vec::new();
            let mut waiting = Vec::new();
            for ((incoming, answer), refusal) in group.into_iter().zip(answers).zip(refused) {
                match refusal {
                    Some(refusal) => {
                        answer.send(Err(refusal)).ok();
                    }
                    None => {
                        kept.push(incoming);
                        waiting.push(answer);
                    }
                }
            }
            let rests = failed.is_some_and(|when| when.elapsed() < HEAL);
            let written = match kept.len() {
                0 => Ok(Vec::new()),
                _ if rests => Err(io::ErrorKind::ResourceBusy.into()),
                _ => writer.append(&kept),
            };
            drop(kept);
            match written {
                Ok(agents) => {
                    if failed.take().is_some() && !agents.is_empty() {
                        tracing::info!("the disk takes data again");
                    }
                    for answer in waiting {
                        answer.send(Ok(())).ok();
                    }
                    told(&agents);
                }
                Err(error) => {
                    if failed.is_none() {
                        tracing::error!(%error, "the disk does not take data; agents are asked to keep theirs");
                    }
                    if !rests {
                        failed = Some(Instant::now());
                    }
                    for answer in waiting {
                        answer.send(Err(Refusal::Disk)).ok();
                    }
                }
            }
        }
        if settled.elapsed() >= SETTLE || !settlers.is_empty() {
            static QUIET: Quiet = Quiet::new(Duration::from_secs(10));
            if let Err(error) = writer.settle()
                && let Some(suppressed) = QUIET.speak(Instant::now())
            {
                tracing::warn!(%error, suppressed, "what is delivered was not written down; it may be sent twice");
            }
            settled = Instant::now();
            for answer in settlers {
                answer.send(()).ok();
            }
        }
    }
}

#[cfg(test)]
mod tests;
