//! What proxies say over gRPC: register, check in, captured exchanges.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use common::{
    config::Secret,
    drain::Drain,
    quiet::Quiet,
    wire::{self, capture_service_server::CaptureService},
};
use futures::{Stream, StreamExt as _};
use tonic::{Code, Request, Response, Status, Streaming, service::Interceptor};

use crate::{
    registry::{Registry, Run},
    store::{Refused, Store},
};

/// The largest message that is read: a batch of goproxy's is far smaller, unless one exchange is not.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// Batches of one stream that may wait for the disk together.
const BATCHES_AT_ONCE: usize = 8;
/// A name that a proxy gives itself is no longer than a host name may be.
const MAX_NAME_BYTES: usize = 253;

/// The service. Clones are the same service.
#[derive(Clone)]
pub struct Service {
    store: Store,
    registry: Arc<Mutex<Registry>>,
    timeout: Duration,
    drain: Drain,
}

impl Service {
    /// Stores here; a proxy that is silent for `timeout` is reaped. Proxies that were alive when the
    /// store was last open get a lease, so that they are reaped if they never come back.
    pub fn new(store: Store, timeout: Duration, drain: Drain) -> Self {
        let mut registry = Registry::new(timeout);
        let open = store.proxies().into_iter().filter(|proxy| !proxy.state.closed && !proxy.state.cut);
        for proxy in open {
            registry.register(&Run { proxy_id: proxy.id, epoch: proxy.epoch }, Instant::now());
        }
        Self { store, registry: Arc::new(Mutex::new(registry)), timeout, drain }
    }

    /// Reaps silent proxies until the stop.
    pub async fn reap(self) {
        let mut tick = tokio::time::interval(
            (self.timeout / 20).clamp(Duration::from_millis(50), Duration::from_secs(1)),
        );
        loop {
            tokio::select! {
                () = self.drain.started() => return,
                _ = tick.tick() => {}
            }
            let reaped = self.registry().reap(Instant::now());
            for run in reaped {
                tracing::info!(
                    "REAP proxy ID {}: not heard of for {:?}",
                    run.proxy_id.escape_debug(),
                    self.timeout
                );
                if let Err(error) = self.store.reap(&run.proxy_id, run.epoch).await {
                    tracing::warn!(%error, "a reaped proxy could not be written down; it is reaped again after a restart");
                }
            }
        }
    }

    /// How many runs of proxies are alive.
    pub fn alive(&self) -> usize {
        self.registry().len()
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the batches of one stream and answers each once it is on disk; several wait for the disk together.
    fn store_each(
        self,
        batches: impl Stream<Item = Result<wire::CaptureRequest, Status>>,
    ) -> impl Stream<Item = Result<wire::CaptureResponse, Status>> {
        // One after the other up to the log: what is polled side by side may overtake, and leave a gap.
        let submitted = batches.then(move |batch| {
            let service = self.clone();
            async move {
                let batch = batch?;
                service.heard(&batch.proxy_id, batch.epoch);
                service.store.submit(batch).await.map_err(|refused| status(&refused))
            }
        });
        let stored = submitted.map(|submitted| async {
            let stored_through = submitted?.await.map_err(|refused| status(&refused))?;
            Ok(wire::CaptureResponse { stored_through })
        });
        stored.buffered(BATCHES_AT_ONCE)
    }

    fn heard(&self, proxy_id: &str, epoch: u64) {
        let run = Run { proxy_id: proxy_id.to_owned(), epoch };
        if self.registry().renew(&run, Instant::now()) {
            tracing::warn!(
                proxyID = proxy_id,
                "two proxies use this APP_POD_NAME; both are stored and counted, but give each its own"
            );
        }
    }
}

#[tonic::async_trait]
impl CaptureService for Service {
    type CaptureStream = Pin<Box<dyn Stream<Item = Result<wire::CaptureResponse, Status>> + Send>>;

    async fn register(
        &self,
        request: Request<wire::RegisterRequest>,
    ) -> Result<Response<wire::RegisterResponse>, Status> {
        let request = request.into_inner();
        for (field, name) in [
            ("proxy_id", &request.proxy_id),
            ("service", &request.service),
            ("namespace", &request.namespace),
        ] {
            if name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
                return Err(Status::invalid_argument(format!(
                    "{field} must be at most {MAX_NAME_BYTES} bytes without control characters"
                )));
            }
        }
        if request.proxy_id.is_empty() || request.epoch == 0 {
            return Err(Status::invalid_argument("proxy_id and epoch must be there"));
        }
        let run = Run { proxy_id: request.proxy_id.clone(), epoch: request.epoch };
        let started = jiff::Timestamp::from_nanosecond(request.started_at_ns.into()).unwrap_or_default();
        tracing::info!("REGISTER proxy ID {} at timestamp {started:.0}", request.proxy_id);
        let stored_through = self.store.register(request).await.map_err(|refused| status(&refused))?;
        self.registry().register(&run, Instant::now());
        let third = u32::try_from((self.timeout / 3).as_millis()).unwrap_or(u32::MAX);
        Ok(Response::new(wire::RegisterResponse { stored_through, check_in_interval_ms: third }))
    }

    async fn check_in(
        &self,
        request: Request<wire::CheckInRequest>,
    ) -> Result<Response<wire::CheckInResponse>, Status> {
        let request = request.into_inner();
        let run = Run { proxy_id: request.proxy_id.clone(), epoch: request.epoch };
        let closing = request.closing;
        self.store.check_in(request).await.map_err(|refused| status(&refused))?;
        if closing {
            self.registry().close(&run);
        } else {
            self.heard(&run.proxy_id, run.epoch);
        }
        Ok(Response::new(wire::CheckInResponse {}))
    }

    async fn capture(
        &self,
        request: Request<Streaming<wire::CaptureRequest>>,
    ) -> Result<Response<Self::CaptureStream>, Status> {
        let drain = self.drain.clone();
        let answers = self.clone().store_each(request.into_inner());
        let answers = answers.take_until(async move { drain.started().await });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// What a proxy is told when something is not stored. INVALID_ARGUMENT: never send that again;
/// everything else: come back and resume.
fn status(refused: &Refused) -> Status {
    let code = match refused {
        Refused::Malformed(_) | Refused::Contradiction(_) | Refused::TooLong => Code::InvalidArgument,
        Refused::Gap { .. } => Code::OutOfRange,
        Refused::Full(_) | Refused::Behind => Code::ResourceExhausted,
        Refused::Failing(_) | Refused::Closed => Code::Unavailable,
    };
    static QUIET: Quiet = Quiet::new(Duration::from_secs(10));
    if !matches!(refused, Refused::Closed)
        && let Some(suppressed) = QUIET.speak(Instant::now())
    {
        tracing::warn!(suppressed, "not stored: {}", chain(refused));
    }
    Status::new(code, chain(refused))
}

fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

/// Lets only those in who say the token.
#[derive(Clone)]
pub struct Gate(pub Option<Secret>);

impl Interceptor for Gate {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(token) = &self.0 else { return Ok(request) };
        let told = request.metadata().get("authorization").map(|value| value.as_bytes()).unwrap_or_default();
        match told.strip_prefix(b"Bearer ") {
            Some(told) if token.matches(told) => Ok(request),
            _ => {
                Err(Status::unauthenticated("FORWARDER_TOKEN is needed, and must be the same on both sides"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::stream;
    use tokio::task::coop;

    use super::*;
    use crate::store::{Options, samples::request};

    #[tokio::test]
    async fn batches_keep_their_order_when_the_runtime_wants_the_task_to_yield() {
        let folder = tempfile::tempdir().unwrap();
        let store =
            Store::open(Options { data_dir: folder.path().to_owned(), ..Options::default() }).unwrap();
        let service = Service::new(store, Duration::from_secs(60), Drain::default());
        let batches = (1..=100).map(|sequence| Ok(request("a", 1, sequence..=sequence)));
        let mut answers = pin!(service.store_each(stream::iter(batches)));
        for sequence in 1..=100 {
            while coop::has_budget_remaining() {
                coop::consume_budget().await;
            }
            let answer = answers.next().await.unwrap().unwrap();
            assert_eq!(answer.stored_through, sequence);
        }
    }
}
