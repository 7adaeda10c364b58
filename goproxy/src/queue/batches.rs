//! Pure. Batches in order of sequence: filled, sent, kept until acknowledged.

use std::collections::VecDeque;

use bytes::Bytes;
use common::wire::{self, DropReason};

use super::Counts;

/// A batch is closed at this size.
const BATCH_BYTES: usize = 256 << 10;
/// How much may be on its way to the forwarder unacknowledged.
const WINDOW_BYTES: usize = 8 << 20;

struct Batch {
    first_sequence: u64,
    count: u32,
    exchanges: Bytes,
    report: wire::Report,
}

impl Batch {
    fn last_sequence(&self) -> u64 {
        self.first_sequence + u64::from(self.count) - 1
    }
}

/// What an exchange that was added made of the queue.
pub(super) struct Filled {
    /// It is the first that waits.
    pub(super) first: bool,
    /// A batch is full.
    pub(super) batch: bool,
}

#[derive(Clone, Copy, Default)]
struct Tally {
    seen: u64,
    sequenced: u64,
    memory: u64,
    decoder: u64,
    /// Only ever settled: an epoch ends with a refusal.
    refused: u64,
}

pub(super) struct Batches {
    epoch: u64,
    /// Counted in this epoch.
    tally: Tally,
    /// Counted in the epochs of this process that came before it, where all is settled.
    before: Tally,
    acknowledged: u64,
    /// What is being filled; its exchanges are the last of those sequenced.
    open: Vec<u8>,
    open_count: u32,
    /// Closed batches, the first `sent` of which are on their way.
    closed: VecDeque<Batch>,
    sent: usize,
    sent_bytes: usize,
}

impl Batches {
    pub(super) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            tally: Tally::default(),
            before: Tally::default(),
            acknowledged: 0,
            open: Vec::new(),
            open_count: 0,
            closed: VecDeque::new(),
            sent: 0,
            sent_bytes: 0,
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether nothing waits to be sent.
    pub(super) fn is_idle(&self) -> bool {
        self.open_count == 0 && self.sent == self.closed.len()
    }

    /// Appends an exchange.
    pub(super) fn push(&mut self, exchange: &wire::Entry<'_>) -> Filled {
        let was_idle = self.is_idle();
        let is_full = self.open.len() + exchange.bytes() > BATCH_BYTES;
        if is_full {
            self.close();
        }
        if self.open.capacity() == 0 {
            self.open.reserve(BATCH_BYTES);
        }
        exchange.append_to(&mut self.open);
        self.count_sequenced();
        self.open_count += 1;
        Filled { first: was_idle, batch: is_full }
    }

    /// Takes one encoded exchange as a batch of its own.
    pub(super) fn push_large(&mut self, exchange: Bytes) -> Filled {
        let was_idle = self.is_idle();
        self.close();
        self.count_sequenced();
        let report = self.report();
        self.closed.push_back(Batch {
            first_sequence: self.tally.sequenced,
            count: 1,
            exchanges: exchange,
            report,
        });
        Filled { first: was_idle, batch: true }
    }

    fn count_sequenced(&mut self) {
        self.tally.seen += 1;
        self.tally.sequenced += 1;
    }

    pub(super) fn count_dropped(&mut self, reason: DropReason) {
        self.tally.seen += 1;
        match reason {
            DropReason::Decoder => self.tally.decoder += 1,
            DropReason::Memory | DropReason::Unspecified => self.tally.memory += 1,
        }
    }

    fn close(&mut self) {
        if self.open_count == 0 {
            return;
        }
        let exchanges = if self.open.len() < BATCH_BYTES / 2 {
            // A batch that waits long must not hold more memory than it was counted for.
            let exact = Bytes::copy_from_slice(&self.open);
            self.open.clear();
            exact
        } else {
            std::mem::take(&mut self.open).into()
        };
        let first_sequence = self.tally.sequenced + 1 - u64::from(self.open_count);
        let report = self.report();
        self.closed.push_back(Batch { first_sequence, count: self.open_count, exchanges, report });
        self.open_count = 0;
    }

    /// The next batch to send; with `flush` also one that is not full.
    pub(super) fn next(&mut self, proxy_id: &str, flush: bool) -> Option<wire::CaptureRequest> {
        if self.sent_bytes >= WINDOW_BYTES {
            return None;
        }
        if self.sent == self.closed.len() && flush {
            self.close();
        }
        let batch = self.closed.get(self.sent)?;
        self.sent += 1;
        self.sent_bytes += batch.exchanges.len();
        Some(wire::CaptureRequest {
            proxy_id: proxy_id.to_owned(),
            epoch: self.epoch,
            first_sequence: batch.first_sequence,
            count: batch.count,
            exchanges: batch.exchanges.clone(),
            report: Some(batch.report.clone()),
        })
    }

    /// Lets go of what is on disk; returns the bytes that were freed.
    pub(super) fn acknowledge(&mut self, through: u64) -> usize {
        let mut freed = 0;
        while let Some(batch) = self.closed.pop_front_if(|batch| batch.last_sequence() <= through) {
            freed += batch.exchanges.len();
            if self.sent > 0 {
                self.sent -= 1;
                self.sent_bytes -= batch.exchanges.len();
            }
        }
        self.acknowledged = self.acknowledged.max(through.min(self.tally.sequenced));
        freed
    }

    /// Prepares a new stream; returns the bytes freed, and whether a new epoch began.
    pub(super) fn resume(&mut self, through: u64, fresh_epoch: u64) -> (usize, bool) {
        self.sent = 0;
        self.sent_bytes = 0;
        if through >= self.acknowledged {
            return (self.acknowledge(through), false);
        }
        self.restart(fresh_epoch);
        (0, true)
    }

    /// The forwarder refuses the batch behind what it has stored, for good: that is dropped, and the
    /// rest begins a new epoch. To the forwarder, what was refused is what the old epoch never brought.
    /// Returns the bytes that were freed.
    pub(super) fn refuse(&mut self, fresh_epoch: u64) -> usize {
        self.close();
        let Some(batch) = self.closed.pop_front() else { return 0 };
        self.before.refused += u64::from(batch.count);
        self.sent = 0;
        self.sent_bytes = 0;
        self.restart(fresh_epoch);
        batch.exchanges.len()
    }

    /// What is still here becomes the start of a new epoch; what is settled stays with the old one.
    fn restart(&mut self, epoch: u64) {
        self.close();
        let settled = self.closed.front().map_or(self.tally.sequenced, |batch| batch.first_sequence - 1);
        let waiting = self.tally.sequenced - settled;
        self.before.seen += self.tally.seen - waiting;
        self.before.sequenced += self.acknowledged;
        self.before.memory += self.tally.memory;
        self.before.decoder += self.tally.decoder;
        self.tally = Tally { seen: waiting, sequenced: waiting, ..Tally::default() };
        self.epoch = epoch;
        self.acknowledged = 0;
        for batch in &mut self.closed {
            batch.first_sequence -= settled;
            let through = batch.first_sequence + u64::from(batch.count) - 1;
            batch.report = wire::Report { seen: through, sequenced: through, ..wire::Report::default() };
        }
    }

    pub(super) fn report(&self) -> wire::Report {
        let Tally { seen, sequenced, memory, decoder, .. } = self.tally;
        let dropped = [(DropReason::Memory, memory), (DropReason::Decoder, decoder)]
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| wire::Drop { reason: reason.into(), count })
            .collect();
        wire::Report { seen, sequenced, filtered: 0, dropped }
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            seen: self.before.seen + self.tally.seen,
            acknowledged: self.before.sequenced + self.acknowledged,
            in_flight: self.tally.sequenced - self.acknowledged,
            dropped_memory: self.before.memory + self.tally.memory,
            dropped_decoder: self.before.decoder + self.tally.decoder,
            dropped_refused: self.before.refused,
        }
    }
}
