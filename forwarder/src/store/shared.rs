//! What the writer, the sealing and everyone who asks share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Notify, broadcast};

use super::generation::{Block, Full, Generation, Raw};
use super::ledger::Ledger;
use super::{Counters, Health, News, Options, Segment};

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) ledger: Ledger,
    pub(super) open: Generation,
    pub(super) full: VecDeque<Arc<Full>>,
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) health: Health,
    pub(super) counters: Counters,
    pub(super) rows: u64,
}

pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) state: RwLock<State>,
    /// Bytes of `state.full`, for a look without a lock.
    pub(super) backlog: AtomicU64,
    /// Something became full, or the store closes.
    pub(super) full: Notify,
    /// Something was sealed, or the store closes.
    pub(super) sealed: Notify,
    pub(super) closed: AtomicBool,
    pub(super) news: broadcast::Sender<News>,
}

impl Shared {
    pub(super) fn backlog_bytes(&self) -> u64 {
        self.backlog.load(Ordering::Relaxed)
    }

    /// Returns once no more waits for being sealed than may, or the store is closed.
    pub(super) async fn sealing_keeps_up(&self) {
        loop {
            let sealed = self.sealed.notified();
            let is_behind = self.backlog_bytes() > self.options.unsealed_bytes;
            if !is_behind || self.closed.load(Ordering::Acquire) {
                return;
            }
            sealed.await;
        }
    }

    /// Whether there is room enough for what waits that sealing may let others go first.
    pub(super) fn sealing_may_wait(&self) -> bool {
        !self.closed.load(Ordering::Acquire) && self.backlog_bytes() <= self.options.unsealed_bytes / 2
    }

    pub(super) fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// These are durable, in a file that is now so long.
    pub(super) fn publish(&self, log_bytes: u64, staged: &Ledger, touched: &[String], raws: Vec<Raw>) {
        let news = (!raws.is_empty() && self.news.receiver_count() > 0).then(|| Block::new(raws.clone()));
        let before = self.write(|state| {
            state.open.log_bytes = log_bytes;
            for proxy in touched {
                state.ledger.copy_proxy(staged, proxy);
            }
            let before = state.rows;
            for raw in raws {
                state.rows += raw.rows() as u64;
                state.open.push(raw);
            }
            before
        });
        if let Some(block) = news {
            // Nobody following is fine.
            drop(self.news.send(News { before, block: Arc::new(block) }));
        }
    }

    pub(super) fn unpublish(&self, staged: &mut Ledger, touched: &[String]) {
        self.read(|state| touched.iter().for_each(|proxy| staged.copy_proxy(&state.ledger, proxy)));
    }

    /// The file of this number is never written again; what it holds can be sealed.
    pub(super) fn publish_full(&self, number: u64) {
        self.write(|state| {
            let mut generation = std::mem::take(&mut state.open);
            generation.number = number;
            generation.end();
            self.backlog.fetch_add(generation.log_bytes, Ordering::Relaxed);
            state.full.push_back(Arc::new(Full { generation, ledger: state.ledger.clone() }));
        });
        self.full.notify_one();
    }

    pub(super) fn set_health(&self, health: Health) {
        let before = self.write(|state| std::mem::replace(&mut state.health, health));
        if before != health {
            match health {
                Health::Good => tracing::info!("log is written again"),
                Health::Full => tracing::error!("disk is full, batches are refused"),
                Health::Failing => tracing::error!("log cannot be written, batches are refused"),
            }
        }
    }
}
