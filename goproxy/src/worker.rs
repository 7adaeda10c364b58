//! A thread that accepts and relays. All of them share one listener; a connection stays on the thread
//! that accepted it, so that nothing is handed between threads on its way.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use common::{drain::Drain, quiet::Quiet};
use tokio::{
    net::TcpStream,
    select,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time,
};

use crate::{
    connection::{self, Shared},
    metrics::Metrics,
};

/// After an accept that failed, descriptors have to become free before another can succeed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Resolves when a worker has ended: to `Ok` after the drain, to an error when it panicked.
pub type End = oneshot::Receiver<()>;

/// Starts one; it ends when the drain is over.
///
/// # Errors
/// When the system gives no thread, no descriptor, or will not share the listener.
pub fn start(
    listener: &TcpListener,
    room: Arc<Semaphore>,
    shared: Shared,
    drain: Drain,
) -> anyhow::Result<End> {
    let listener = listener.try_clone()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _inside = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (ended, end) = oneshot::channel();
    thread::Builder::new().name("relay".to_owned()).spawn(move || {
        runtime.block_on(async move {
            accept(listener, room, shared, &drain).await;
            drain.idle().await;
        });
        // A lookup of a name may hang in a thread of its own; it must not hold up the end.
        runtime.shutdown_background();
        // Nobody asks any more when the server itself has failed.
        ended.send(()).ok();
    })?;
    Ok(end)
}

async fn accept(listener: tokio::net::TcpListener, room: Arc<Semaphore>, shared: Shared, drain: &Drain) {
    let metrics = Arc::clone(&shared.outlet.metrics);
    loop {
        if room.available_permits() == 0 {
            metrics.accept_pauses.inc();
            warn_of_full(&metrics);
        }
        let accepted = select! {
            biased;
            accepted = accept_one(&listener, &room) => accepted,
            () = drain.started() => return,
        };
        match accepted {
            Ok((place, client, peer)) => {
                let served = connection::serve(client, peer, shared.clone(), drain.clone());
                drain.spawn_own(async move {
                    served.await;
                    drop(place);
                });
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

type Place = OwnedSemaphorePermit;

/// The place comes first: who is not accepted waits, who is accepted without descriptors is lost.
async fn accept_one(
    listener: &tokio::net::TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(Place, TcpStream, SocketAddr)> {
    let place = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (client, peer) = listener.accept().await?;
    Ok((place, client, peer))
}

fn warn_of_full(metrics: &Metrics) {
    static QUIET: Quiet = Quiet::new(Duration::from_secs(5));
    if let Some(suppressed) = QUIET.speak(Instant::now()) {
        let connections = metrics.connections_active.get();
        tracing::warn!(
            connections,
            suppressed,
            "no file descriptors for more connections; clients wait until one ends, or raise the limit"
        );
    }
}
