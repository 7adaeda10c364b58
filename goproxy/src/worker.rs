//! A thread that accepts and relays. All of them share one listener; a connection stays on the thread
//! that accepted it, so that nothing is handed between threads on its way.

use std::{
    net::TcpListener,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use common::{drain::Drain, quiet::Quiet};
use tokio::{select, sync::oneshot, time};

use crate::connection::{self, Shared};

/// After an accept that failed, descriptors have to become free before another can succeed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Resolves when a worker has ended: to `Ok` after the drain, to an error when it panicked.
pub type End = oneshot::Receiver<()>;

/// Starts one; it ends when the drain is over.
///
/// # Errors
/// When the system gives no thread, no descriptor, or will not share the listener.
pub fn start(listener: &TcpListener, shared: Shared, drain: Drain) -> anyhow::Result<End> {
    let listener = listener.try_clone()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _inside = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (ended, end) = oneshot::channel();
    thread::Builder::new().name("relay".to_owned()).spawn(move || {
        runtime.block_on(async move {
            accept(listener, shared, &drain).await;
            drain.idle().await;
        });
        // A lookup of a name may hang in a thread of its own; it must not hold up the end.
        runtime.shutdown_background();
        // Nobody asks any more when the server itself has failed.
        ended.send(()).ok();
    })?;
    Ok(end)
}

async fn accept(listener: tokio::net::TcpListener, shared: Shared, drain: &Drain) {
    let metrics = Arc::clone(&shared.outlet.metrics);
    loop {
        let accepted = select! {
            biased;
            accepted = listener.accept() => accepted,
            () = drain.started() => return,
        };
        match accepted {
            Ok((client, peer)) => {
                drain.spawn_own(connection::serve(client, peer, shared.clone(), drain.clone()));
            }
            Err(error) => {
                metrics.accept_failures.inc();
                static QUIET: Quiet = Quiet::new(Duration::from_secs(5));
                if let Some(suppressed) = QUIET.speak(Instant::now()) {
                    tracing::warn!(%error, suppressed, "accept failed; clients wait until it works again");
                }
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
