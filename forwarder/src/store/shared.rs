//! What the writer, the sealing and everyone who asks share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use arrow::array::RecordBatch;
use tokio::sync::{Notify, broadcast};

use super::generation::{Full, Generation};
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
    pub(super) closed: AtomicBool,
    pub(super) news: broadcast::Sender<News>,
}

impl Shared {
    pub(super) fn backlog_bytes(&self) -> u64 {
        self.backlog.load(Ordering::Relaxed)
    }

    pub(super) fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn publish(&self, open: &Generation, staged: &Ledger, touched: &[String], rows: RecordBatch) {
        let before = self.write(|state| {
            state.open = open.clone();
            for proxy in touched {
                state.ledger.copy_proxy(staged, proxy);
            }
            let before = state.rows;
            state.rows += rows.num_rows() as u64;
            before
        });
        if rows.num_rows() > 0 && self.news.receiver_count() > 0 {
            // Nobody following is fine.
            drop(self.news.send(News { before, rows }));
        }
    }

    pub(super) fn unpublish(&self, staged: &mut Ledger, touched: &[String]) {
        self.read(|state| touched.iter().for_each(|proxy| staged.copy_proxy(&state.ledger, proxy)));
    }

    pub(super) fn publish_full(&self, full: Full, open: &Generation) {
        self.backlog.fetch_add(full.generation.log_bytes, Ordering::Relaxed);
        self.write(|state| {
            state.full.push_back(Arc::new(full));
            state.open = open.clone();
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
