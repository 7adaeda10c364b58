//! Threads that carry. A connection stays on the thread that accepted it.

use std::{sync::Arc, thread};

use common::drain::Drain;
use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::{runtime::Handle, sync::oneshot};

use super::upstream::Pool;

/// One thread, from outside.
#[derive(Clone)]
pub(super) struct Worker {
    handle: Handle,
    /// Its connections to targets that speak HTTP.
    pub(super) pool: Arc<Pool>,
}

impl Worker {
    /// Everything that is spawned before this is dropped runs on this thread.
    pub(super) fn enter(&self) -> tokio::runtime::EnterGuard<'_> {
        self.handle.enter()
    }
}

/// All of them.
pub(super) struct Workers {
    workers: Vec<Worker>,
    ends: std::sync::Mutex<Vec<oneshot::Receiver<()>>>,
}

impl Workers {
    /// Starts so many; they end when the drain is over.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(count: usize, drain: &Drain) -> anyhow::Result<Self> {
        let (mut workers, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..count.max(1) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            workers.push(Worker { handle: runtime.handle().clone(), pool: Arc::default() });
            let (ended, end) = oneshot::channel();
            ends.push(end);
            let drain = drain.clone();
            thread::Builder::new().name("carry".to_owned()).spawn(move || {
                runtime.block_on(drain.idle());
                // A lookup of a name may hang in a thread of its own; it must not hold up the end.
                runtime.shutdown_background();
                // Nobody asks any more when the server itself has failed.
                ended.send(()).ok();
            })?;
        }
        Ok(Self { workers, ends: std::sync::Mutex::new(ends) })
    }

    /// Each of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Worker> {
        self.workers.iter()
    }

    /// Waits for their end. One that ends before the stop takes the plane with it, since its
    /// connections are gone and nobody accepts in its place.
    ///
    /// # Errors
    /// When one ended by itself.
    pub(super) async fn finished(&self, drain: &Drain) -> anyhow::Result<()> {
        let ends = std::mem::take(&mut *self.ends.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        let mut ends: FuturesUnordered<_> = ends.into_iter().collect();
        while let Some(ended) = ends.next().await {
            if ended.is_err() || !drain.is_started() {
                drain.insist();
                anyhow::bail!("a worker ended by itself");
            }
        }
        Ok(())
    }
}
