//! The durable queue: what is accepted is on disk first, and leaves in order for each agent.

mod budget;
mod compact;
mod dead;
mod frame;
mod groups;
mod index;
mod lanes;
mod ledger;
mod marking;
mod marks;
mod recover;
mod store;
mod sweep;
mod warm;
mod writer;

pub mod list;

use std::{
    collections::HashSet,
    io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use common::disk::FileSystem;
use tokio::sync::{Notify, oneshot};

use crate::content::Content;

pub use self::ledger::Balance;
use self::{
    dead::Dead,
    groups::{Order, write},
    lanes::Lanes,
    recover::recover,
    store::{End, Next, Store},
    writer::{Full, Incoming, Writer},
};
pub(crate) use self::{dead::DeadLetter, ledger::Agent, store::Stored};

/// How often it is written down what is delivered: so much may be sent twice after a crash.
const SETTLE: Duration = Duration::from_millis(200);
/// And so many records at most, unless the disk takes no marks: from half of it on it is written down at once.
const MOST_UNSETTLED: u64 = 1024;
/// More agents than this are not told apart.
const MOST_AGENTS: u32 = 100_000;
/// Memory for records that are delivered next.
const WARM_BYTES: u64 = 8 << 20;
/// Who waits longer has nothing in it.
const SOON: Duration = Duration::from_secs(1);
/// What those beyond are called.
const OTHERS: &str = "others - -";

/// How much may be kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    /// What waits, in all.
    pub(crate) bytes: u64,
    /// What waits of one agent.
    pub(crate) agent_bytes: u64,
    /// Dead letters; the oldest leave for the newest.
    pub(crate) dead_bytes: u64,
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

/// See the module.
pub(crate) struct Queue {
    store: Arc<Store>,
    dead: Dead,
    /// Dead letters that a crash made queued records again: they are none if they are delivered now.
    undead: Mutex<HashSet<(u32, u64)>>,
    lanes: Mutex<Lanes>,
    arrived: Notify,
    orders: mpsc::Sender<Order>,
    /// Somebody asked for it to be written down already.
    settling: AtomicBool,
    /// The disk takes no marks: waiting for it would wait for ever on a disk that only deliveries can empty.
    unsettling: AtomicBool,
}

/// Reads bytes as a file of records, as they are and with their checksums put right; returns how many records there
/// are then.
pub(crate) fn read_anything(bytes: &[u8]) -> usize {
    let mut count = 0;
    for bytes in [bytes, &frame::resummed(bytes)] {
        let head = frame::read_file_head(bytes).unwrap_or_default();
        let mut ledger = ledger::Ledger::default();
        let records = frame::read(bytes, frame::FILE_HEAD, head.mark).records;
        count = records.len();
        for (_, record) in records {
            record.origin();
            marks::apply(&record, &mut ledger);
        }
        ledger.balance();
    }
    count
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
        let dead = Dead::open(&folder.join("dead"), quota.dead_bytes)?;
        let (store, found) = recover(disk, &folder.join("queue"))?;
        if found.lost_bytes > 0 {
            tracing::error!(bytes = found.lost_bytes, "a part of the queue is damaged and cannot be read");
        }
        let store = Arc::new(store);
        store.state().hearth.limit(WARM_BYTES);
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
            settling: AtomicBool::new(false),
            unsettling: AtomicBool::new(false),
        });
        let own = Arc::downgrade(&queue);
        thread::Builder::new().name("queue".to_owned()).spawn(move || write(writer, &inbox, quota, &own))?;
        Ok(queue)
    }

    fn undead(&self) -> MutexGuard<'_, HashSet<(u32, u64)>> {
        self.undead.lock().unwrap_or_else(PoisonError::into_inner)
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
        let lined_up = queued.into_iter().filter(|(agent, queued)| lanes.arrived(*agent, *queued)).count();
        drop(lanes);
        // One for each, and not everybody who waits.
        (0..lined_up).for_each(|_| self.arrived.notify_one());
    }

    /// Keeps a request: on disk when this returns, unless it is refused. `origin` is its number in the relay before
    /// this one, where `agent` is numbered by itself: what came already is not kept twice.
    pub(crate) async fn keep(
        &self,
        agent: String,
        head: Bytes,
        body: Content,
        origin: Option<u64>,
    ) -> Result<(), Refusal> {
        let is_beyond = self.is_beyond(&agent);
        // Numbers of several relays cannot be compared.
        let (agent, origin) = if is_beyond { (OTHERS.to_owned(), None) } else { (agent, origin) };
        self.put(Incoming { agent, head, body, time_ms: now_ms(), origin, ..Incoming::default() }).await
    }

    /// Whether there are too many agents for one more of this name.
    fn is_beyond(&self, agent: &str) -> bool {
        let state = self.store.state();
        state.ledger.next() >= MOST_AGENTS && state.ledger.number(agent).is_none()
    }

    async fn put(&self, incoming: Incoming) -> Result<(), Refusal> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order::Keep(incoming, answer)).map_err(|_| Refusal::Closed)?;
        answered.await.unwrap_or(Err(Refusal::Closed))
    }

    /// Other quotas from now on.
    pub(crate) fn limit(&self, quota: Quota) {
        self.dead.limit(quota.dead_bytes);
        self.orders.send(Order::Limit(quota)).ok();
    }

    /// Waits for an agent whose turn it is. It has to be given back.
    pub(crate) async fn take(&self) -> u32 {
        loop {
            let arrived = self.arrived.notified();
            let mut arrived = std::pin::pin!(arrived);
            arrived.as_mut().enable();
            if self.store.state().unsettled >= MOST_UNSETTLED && !self.unsettling.load(Ordering::Relaxed) {
                self.hasten();
                tokio::time::timeout(SETTLE, arrived).await.ok();
                continue;
            }
            let (taken, next) = {
                let mut lanes = self.lanes();
                (lanes.take(Instant::now(), |agent| self.queued(agent)), lanes.next())
            };
            if let Some(agent) = taken {
                if next.is_some() {
                    // Somebody else has to wake up for those that wait meanwhile.
                    self.arrived.notify_one();
                }
                return agent;
            }
            let next = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(60));
            // A timeout is as good as an arrival.
            tokio::time::timeout_at(next.into(), arrived).await.ok();
        }
    }

    /// The first record of an agent, if it is in memory.
    pub(crate) fn first_warm(&self, agent: u32) -> Option<Stored> {
        self.store.warm(agent)
    }

    /// The first record of an agent; an error of kind `ResourceBusy` when there is no memory for it just now.
    /// Records that cannot be read any more are told and passed over.
    /// May wait for the disk.
    pub(crate) fn first(&self, agent: u32) -> io::Result<Option<Stored>> {
        loop {
            match self.store.next(agent)? {
                Next::Record(stored) => return Ok(Some(stored)),
                Next::Empty => return Ok(None),
                Next::Busy => return Err(io::ErrorKind::ResourceBusy.into()),
                Next::Lost(position, near) => {
                    tracing::error!(agent, up_to = position.number, "queued records are damaged or missing");
                    self.store.done(agent, position, near, End::Dead);
                }
            }
        }
    }

    /// The record is delivered.
    pub(crate) fn delivered(&self, agent: u32, stored: &Stored) {
        let number = stored.position.number;
        if self.undead().remove(&(agent, number)) {
            // Left behind, it would be put back one day, and come twice.
            self.dead.remove(&format!("{agent}-{number}")).ok();
        }
        self.end(agent, stored, End::Delivered);
    }

    fn end(&self, agent: u32, stored: &Stored, end: End) {
        self.store.done(agent, stored.position, stored.segment, end);
        if self.store.state().unsettled >= MOST_UNSETTLED / 2 {
            self.hasten();
        }
        self.give_back(agent);
    }

    /// Has it written down now what is done.
    fn hasten(&self) {
        if !self.settling.swap(true, Ordering::Relaxed) {
            self.orders.send(Order::Settle(None)).ok();
        }
    }

    /// The record is put aside, durably, and the agent goes on with the next one.
    pub(crate) fn bury(&self, agent: u32, stored: &Stored, reason: &str) -> io::Result<()> {
        let name = self.store.state().ledger.agent(agent).name;
        self.dead.put(agent, &name, stored, reason)?;
        self.end(agent, stored, End::Dead);
        Ok(())
    }

    /// The record goes into another lane, durably and once, and the agent goes on with the next one. False when
    /// that cannot be now.
    pub(crate) async fn set_aside(&self, agent: u32, stored: &Stored, lane: String) -> bool {
        if self.is_beyond(&lane) {
            return false;
        }
        let incoming = Incoming {
            agent: lane,
            head: stored.head.clone(),
            body: stored.body.clone(),
            time_ms: stored.time_ms,
            is_replayed: false,
            is_moved: true,
            origin: Some(stored.position.number),
        };
        let number = stored.position.number;
        let was_there = self.store.was_aside(number, &incoming.agent);
        let is_there = self.put(incoming).await.is_ok();
        if is_there {
            let end = if !was_there {
                End::Moved
            } else if self.undead().remove(&(agent, number)) {
                End::Dead
            } else {
                self.store.end_before(agent)
            };
            self.end(agent, stored, end);
        }
        is_there
    }

    /// Whether a record has to go into this lane: because it is there already, or others wait there before it.
    pub(crate) fn belongs_aside(&self, stored: &Stored, lane: &str) -> bool {
        self.store.belongs_aside(stored.position.number, lane)
    }

    /// Nobody delivers for this agent any more; it lines up again if it has something.
    pub(crate) fn give_back(&self, agent: u32) {
        let mut lanes = self.lanes();
        // Counted under the lock of the lanes: what arrives behind this finds the lane given back.
        let queued = self.queued(agent);
        lanes.done(agent, queued);
        drop(lanes);
        if queued > 0 {
            self.arrived.notify_one();
        }
    }

    /// The agent's first record is to be tried again then.
    pub(crate) fn retry(&self, agent: u32, when: Instant) {
        if when.saturating_duration_since(Instant::now()) > SOON {
            self.store.state().hearth.forget(agent);
        }
        self.lanes().retry(agent, when);
        self.arrived.notify_one();
    }

    /// The agent need not wait any longer.
    pub(crate) fn nudge(&self, agent: u32) {
        self.lanes().nudge(agent, Instant::now());
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

    /// Puts a dead letter back into the queue, behind what its agent has there. Only one who asks gets it.
    pub(crate) async fn replay_dead(&self, id: &str) -> io::Result<Option<Result<(), Refusal>>> {
        let Some((agent, head, body)) = self.dead.claim(id)? else { return Ok(None) };
        let time_ms = now_ms();
        let incoming =
            Incoming { agent, head: head.into(), body, time_ms, is_replayed: true, ..Incoming::default() };
        let put = self.put(incoming).await;
        if put.is_ok() {
            self.dead.drop_claimed(id)?;
        } else {
            self.dead.unclaim(id)?;
        }
        Ok(Some(put))
    }

    /// What is kept of dead letters, in bytes.
    pub(crate) fn dead_bytes(&self) -> u64 {
        self.dead.bytes()
    }

    /// Which queue this is.
    pub(crate) fn id(&self) -> u128 {
        self.store.state().ledger.id
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
        if self.orders.send(Order::Settle(Some(answer))).is_ok() {
            answered.await.ok();
        }
    }
}

#[cfg(test)]
mod tests;
