//! What was captured and is not yet on the forwarder's disk: bounded, numbered, counted.
//!
//! The law `seen = sequenced + filtered + dropped` holds under one lock; a batch carries the numbers
//! of the moment when it was made, so the forwarder's sheet is exact after every batch.

mod batches;

use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{
    exchange::Exchange,
    wire::{self, DropReason, Opening},
};
use tokio::sync::Notify;

use self::batches::Batches;
use crate::budget::Budget;

/// An exchange of this size or more is written into a batch of its own, outside the lock.
const LARGE: usize = 32 << 10;

/// Between the connections that capture and the link that sends.
pub struct Queue {
    budget: Budget,
    batches: Mutex<Batches>,
    filled: Notify,
    full: Notify,
}

/// The numbers of this epoch, as `/metrics` shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Exchanges that are over.
    pub seen: u64,
    /// Of these, those the forwarder has on disk.
    pub acknowledged: u64,
    /// Of these, those that wait or are on their way.
    pub in_flight: u64,
    /// Of these, those for which there was no memory.
    pub dropped_memory: u64,
    /// Of these, those that a failed decoder lost.
    pub dropped_decoder: u64,
    /// Of these, those that the forwarder refused for good.
    pub dropped_refused: u64,
}

impl Queue {
    /// An empty queue of a new epoch.
    pub fn new(memory: usize, epoch: u64) -> Self {
        Self {
            budget: Budget::new(memory),
            batches: Mutex::new(Batches::new(epoch)),
            filled: Notify::new(),
            full: Notify::new(),
        }
    }

    /// The memory that decoders and the queue share.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Takes an exchange that is over; `reserved` bytes of the budget are held by it and pass to the queue.
    /// When there is no room for its encoded form it is dropped whole, and counted.
    pub fn offer(&self, connection: &Opening, exchange: Exchange, reserved: usize) {
        let entry = connection.with(&exchange);
        let length = entry.bytes();
        if !self.budget.swap(reserved, length) {
            return self.lost(DropReason::Memory);
        }
        let filled = if length >= LARGE {
            let mut own = Vec::with_capacity(length);
            entry.append_to(&mut own);
            self.batches().push_large(own.into())
        } else {
            self.batches().push(&entry)
        };
        if filled.first {
            self.filled.notify_one();
        }
        if filled.batch {
            self.full.notify_one();
        }
    }

    /// Counts an exchange that is over and of which nothing is kept.
    pub fn lost(&self, reason: DropReason) {
        self.batches().count_dropped(reason);
    }

    /// Returns once there may be something to send.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Returns once a batch is full.
    pub async fn full(&self) {
        self.full.notified().await;
    }

    /// The next batch to send, if the link has not too much on its way already; with `flush` also one that
    /// is not full.
    pub fn next(&self, proxy_id: &str, flush: bool) -> Option<wire::CaptureRequest> {
        self.batches().next(proxy_id, flush)
    }

    /// Whether something is left to send.
    pub fn is_waiting(&self) -> bool {
        !self.batches().is_idle()
    }

    /// The forwarder has everything up to this sequence on disk.
    pub fn acknowledge(&self, through: u64) {
        let freed = self.batches().acknowledge(through);
        self.budget.give(freed);
    }

    /// A new stream begins, and the forwarder knows this epoch up to `through`: what it has is let
    /// go, the rest is sent again. When it knows less than it had acknowledged, its store is not the
    /// one it was; a new epoch begins then, and its number is returned to register again with.
    pub fn resume(&self, through: u64, fresh_epoch: u64) -> Option<u64> {
        let mut batches = self.batches();
        let (freed, restarted) = batches.resume(through, fresh_epoch);
        drop(batches);
        self.budget.give(freed);
        restarted.then_some(fresh_epoch)
    }

    /// The forwarder refuses the first batch that it has not stored, and will always do so: it is
    /// dropped and counted, and a new epoch begins with the rest.
    pub fn refuse(&self, fresh_epoch: u64) {
        let freed = self.batches().refuse(fresh_epoch);
        self.budget.give(freed);
    }

    /// The epoch that is now in force.
    pub fn epoch(&self) -> u64 {
        self.batches().epoch()
    }

    /// What to tell the forwarder of this epoch.
    pub fn report(&self) -> wire::Report {
        self.batches().report()
    }

    /// The numbers since the start of the process.
    pub fn counts(&self) -> Counts {
        self.batches().counts()
    }

    fn batches(&self) -> MutexGuard<'_, Batches> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
