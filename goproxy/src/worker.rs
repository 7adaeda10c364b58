//! The threads that accept and relay. All of them share one listener; a connection stays on the thread that was given
//! it, so that nothing is handed between threads on its way.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use common::{
    drain::{Drain, Held},
    quiet::Quiet,
};
use tokio::{
    net::TcpStream,
    runtime::{Handle, Runtime},
    select,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time,
};

use crate::{
    connection::{self, Shared},
    crew::{Crew, Load},
    metrics::Metrics,
};

/// After an accept that failed, descriptors have to become free before another can succeed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Resolves when a worker has ended: to `Ok` after the drain, to an error when it panicked.
pub type End = oneshot::Receiver<()>;

/// What every worker is given.
#[derive(Clone)]
pub struct Kit {
    /// Places for connections.
    pub room: Arc<Semaphore>,
    /// What every connection knows.
    pub shared: Shared,
    /// The stop.
    pub drain: Drain,
}

/// One of them.
struct Worker {
    number: usize,
    listener: tokio::net::TcpListener,
    crew: Arc<Crew>,
    /// Of all of them, by number.
    runtimes: Arc<[Handle]>,
    kit: Kit,
    /// Until this worker accepts no more, all others go on: it may give them what it accepted.
    _held: Held,
}

/// Starts so many; they end when the drain is over.
///
/// # Errors
/// When the system gives no thread, no descriptor, or will not share the listener.
pub fn start(count: usize, listener: &TcpListener, kit: &Kit) -> anyhow::Result<Vec<End>> {
    let build = |_| tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtimes = (0..count).map(build).collect::<io::Result<Vec<_>>>()?;
    let handles: Arc<[_]> = runtimes.iter().map(|runtime| runtime.handle().clone()).collect();
    let crew = Crew::new(count);
    let share = |runtime: &Runtime| {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener.try_clone()?)
    };
    let listeners = runtimes.iter().map(share).collect::<io::Result<Vec<_>>>()?;
    let workers = listeners.into_iter().enumerate().map(|(number, listener)| Worker {
        number,
        listener,
        crew: Arc::clone(&crew),
        runtimes: Arc::clone(&handles),
        kit: kit.clone(),
        _held: kit.drain.hold(),
    });
    // All hold on before the first one runs.
    let workers: Vec<_> = workers.collect();
    workers.into_iter().zip(runtimes).map(|(worker, runtime)| worker.start(runtime)).collect()
}

impl Worker {
    fn start(self, runtime: Runtime) -> anyhow::Result<End> {
        let (ended, end) = oneshot::channel();
        thread::Builder::new().name("relay".to_owned()).spawn(move || {
            runtime.block_on(async move {
                self.accept().await;
                let drain = self.kit.drain.clone();
                drop(self);
                drain.idle().await;
            });
            // A lookup of a name may hang in a thread of its own; it must not hold up the end.
            runtime.shutdown_background();
            // Nobody asks any more when the server itself has failed.
            ended.send(()).ok();
        })?;
        Ok(end)
    }

    async fn accept(&self) {
        let Kit { room, shared, drain } = &self.kit;
        let metrics = &shared.outlet.metrics;
        loop {
            if room.available_permits() == 0 {
                metrics.accept_pauses.inc();
                warn_of_full(metrics);
            }
            let accepted = select! {
                biased;
                accepted = accept_one(&self.listener, room) => accepted,
                () = drain.started() => return,
            };
            if let Err(error) = accepted.map(|arrival| self.give(arrival)) {
                warn_of_failure(metrics, &error, "accept failed; clients wait until it works again");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    /// Gives it to whoever is to carry it.
    fn give(&self, (place, client, peer): Arrival) {
        let load = self.crew.give(self.number);
        let other = self.runtimes.get(load.thread()).filter(|_| load.thread() != self.number);
        let (shared, drain) = (self.kit.shared.clone(), self.kit.drain.clone());
        let Some(other) = other else {
            return self.kit.drain.spawn_own(serve(client, peer, shared, drain, (place, load)));
        };
        let client = client.into_std();
        self.kit.drain.spawn_own_on(other, async move {
            match client.and_then(TcpStream::from_std) {
                Ok(client) => serve(client, peer, shared, drain, (place, load)).await,
                Err(error) => {
                    let lost = "a connection could not be handed to another thread, and is closed";
                    warn_of_failure(&shared.outlet.metrics, &error, lost);
                }
            }
        });
    }
}

async fn serve(client: TcpStream, peer: SocketAddr, shared: Shared, drain: Drain, until: (Place, Load)) {
    connection::serve(client, peer, shared, drain).await;
    drop(until);
}

type Place = OwnedSemaphorePermit;
type Arrival = (Place, TcpStream, SocketAddr);

/// The place comes first: who is not accepted waits, who is accepted without descriptors is lost.
async fn accept_one(listener: &tokio::net::TcpListener, room: &Arc<Semaphore>) -> io::Result<Arrival> {
    let place = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (client, peer) = listener.accept().await?;
    Ok((place, client, peer))
}

fn warn_of_failure(metrics: &Metrics, error: &io::Error, what: &str) {
    metrics.accept_failures.inc();
    static QUIET: Quiet = Quiet::new(Duration::from_secs(5));
    if let Some(suppressed) = QUIET.speak(Instant::now()) {
        tracing::warn!(%error, suppressed, "{what}");
    }
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
