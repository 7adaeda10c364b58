//! Work that may wait: on a thread of its own, which yields to everything that answers.

use std::{io, thread};

use common::priority;
use tokio::sync::oneshot;

/// How far it steps back (nice(2)) behind the rest of the forwarder.
const NICENESS: i32 = 5;

/// Does the work and gives what came of it.
///
/// # Errors
/// When there is no thread to be had, or the work panicked.
pub(super) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    thread::Builder::new().name("seal".to_owned()).spawn(move || {
        priority::step_back(NICENESS);
        // Whoever asked may have gone.
        done.send(work()).ok();
    })?;
    result.await.map_err(|_panicked| io::Error::other("the work failed"))
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn what_fails_is_told_and_takes_nobody_with_it() {
        assert_eq!(super::run(|| 7).await.unwrap(), 7);
        super::run(|| panic!("the work")).await.unwrap_err();
    }
}
