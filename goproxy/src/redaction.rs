//! Brings what was captured to the queue, redacted: small exchanges at once, others by a thread of their
//! own, so that nothing on the relay's threads takes long. What cannot be redacted is dropped and counted.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    thread,
};

use common::{
    exchange::Exchange,
    priority,
    wire::{DropReason, Opening},
};
use tokio::sync::oneshot;

use crate::{metrics::Metrics, queue::Queue, redact::Redactor};

/// Where exchanges go that are over. Clones lead to the same queue.
#[derive(Clone)]
pub struct Redaction {
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    redactor: Option<Arc<Redactor>>,
    /// To the thread. What waits there holds its part of the capture memory, and is bounded by that.
    large: mpsc::Sender<Job>,
}

type Job = (Opening, Exchange, usize);

impl Redaction {
    /// Starts the thread, which steps back behind those that relay. It ends once every clone is dropped and everything is queued; the receiver
    /// resolves then.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        queue: Arc<Queue>,
        metrics: Arc<Metrics>,
        redactor: Option<Redactor>,
    ) -> anyhow::Result<(Self, oneshot::Receiver<()>)> {
        let (large, jobs) = mpsc::channel::<Job>();
        let (ended, end) = oneshot::channel();
        let redaction = Self { queue, metrics, redactor: redactor.map(Arc::new), large };
        let (unsent, _) = mpsc::channel();
        let own = Self { large: unsent, ..redaction.clone() };
        thread::Builder::new().name("redact".to_owned()).spawn(move || {
            priority::step_back(priority::BEHIND_TRAFFIC);
            for (connection, exchange, reserved) in jobs {
                own.settle(&connection, exchange, reserved);
            }
            // Nobody asks any more when the server itself has failed.
            ended.send(()).ok();
        })?;
        Ok((redaction, end))
    }

    /// Takes an exchange that is over; `reserved` bytes of the budget pass on with it.
    pub fn offer(&self, connection: &Opening, exchange: Exchange, reserved: usize) {
        if self.redactor.is_none() || Redactor::is_quick(&exchange) {
            return self.settle(connection, exchange, reserved);
        }
        if let Err(mpsc::SendError((_, _, reserved))) =
            self.large.send((connection.clone(), exchange, reserved))
        {
            self.lose(reserved);
        }
    }

    /// A request target as it may be logged.
    pub fn target(&self, target: &[u8]) -> Vec<u8> {
        match &self.redactor {
            Some(redactor) => redactor.target(target),
            None => target.to_vec(),
        }
    }

    fn settle(&self, connection: &Opening, mut exchange: Exchange, reserved: usize) {
        if let Some(redactor) = &self.redactor {
            match catch_unwind(AssertUnwindSafe(|| redactor.redact(&mut exchange))) {
                Ok(true) => drop(self.metrics.exchanges_redacted.inc()),
                Ok(false) => {}
                Err(_) => return self.lose(reserved),
            }
        }
        self.queue.offer(connection, exchange, reserved);
    }

    /// Better lost than in clear.
    fn lose(&self, reserved: usize) {
        self.metrics.decoder_failures.inc();
        self.queue.budget().give(reserved);
        self.queue.lost(DropReason::Decoder);
    }
}
