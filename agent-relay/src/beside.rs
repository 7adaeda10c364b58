//! Runs what may wait for the disk beside what must not wait, a few at a time.

use std::io;

use tokio::{sync::Semaphore, task::spawn_blocking};

/// So many at a time: each has a thread with memory of its own, and a disk is no faster for more.
static TURNS: Semaphore = Semaphore::const_new(4);

/// What `work` returns; an error when it panicked or the runtime ends.
///
/// # Errors
/// As said.
pub(crate) async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let _turn = TURNS.acquire().await.map_err(io::Error::other)?;
    spawn_blocking(work).await.map_err(io::Error::other)
}
