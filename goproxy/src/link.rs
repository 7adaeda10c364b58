//! The link to the forwarder: registers, checks in, sends what was captured and learns what is stored.
//!
//! The relay does not know it exists. It is away as long as it must be; then it comes back and sends
//! again what was not acknowledged.

mod session;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use common::{backoff::Backoff, quiet::Quiet};
use tokio::{select, sync::oneshot, time};
use tokio_util::sync::CancellationToken;

use self::session::Session;
use crate::{
    config::{Forwarder, Identity},
    metrics::Metrics,
    queue::Queue,
};

const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Everything the link needs to know.
pub struct Link {
    /// Who this proxy is.
    pub identity: Identity,
    /// Where the forwarder is.
    pub forwarder: Forwarder,
    /// What is to be sent.
    pub queue: Arc<Queue>,
    /// Counts what breaks.
    pub metrics: Arc<Metrics>,
    /// Where the proxy listens and leads, for the registration.
    pub place: Place,
}

/// What a registration says of where the proxy stands.
#[derive(Clone, Debug)]
pub struct Place {
    /// The port for clients.
    pub listen_port: u16,
    /// The host of the service.
    pub upstream_host: String,
    /// The port of the service.
    pub upstream_port: u16,
    /// When the process started, in nanoseconds since the Unix epoch.
    pub started_at_ns: u64,
}

impl Link {
    /// Runs the link on a thread of its own. It does not step back behind those that relay, because they
    /// wait for it where both need the queue.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(self, closing: CancellationToken) -> anyhow::Result<oneshot::Receiver<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ended, end) = oneshot::channel();
        thread::Builder::new().name("link".to_owned()).spawn(move || {
            runtime.block_on(self.run(closing));
            // A lookup of a name may hang in a thread of its own; it must not hold up the end.
            runtime.shutdown_background();
            // Nobody asks any more when the server itself has failed.
            ended.send(()).ok();
        })?;
        Ok(end)
    }

    /// Keeps the link up until `closing` is cancelled; then what is queued is still sent, and the
    /// epoch is closed, unless there is no forwarder: that is tried once more. The caller bounds how
    /// long a forwarder that is there may take.
    pub async fn run(self, closing: CancellationToken) {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        let quiet = Quiet::new(Duration::from_secs(30));
        loop {
            let last_try = closing.is_cancelled();
            let ended = Session { link: &self, closing: &closing, backoff: &mut backoff }.run().await;
            self.metrics.forwarder_connected.set(0);
            let error = match ended {
                Ok(()) => return,
                Err(error) => error,
            };
            self.metrics.forwarder_failures.inc();
            if last_try {
                let lost = self.queue.counts().in_flight;
                tracing::error!(
                    lost,
                    error = format!("{error:#}"),
                    "the forwarder was not there to take the last exchanges"
                );
                return;
            }
            if let Some(suppressed) = quiet.speak(Instant::now()) {
                let addr = &self.forwarder.address;
                tracing::warn!(
                    addr,
                    error = format!("{error:#}"),
                    suppressed,
                    "no forwarder; traffic is not affected, what is captured waits"
                );
            }
            let wait = backoff.wait(fastrand::f64());
            select! {
                () = time::sleep(wait) => {}
                () = closing.cancelled(), if !closing.is_cancelled() => {}
            }
        }
    }
}
