//! One connection to the forwarder, from registration to its end.

use std::{future, time::Duration};

use anyhow::{Context as _, bail};
use common::{
    backoff::Backoff,
    daemon::VERSION,
    wire::{self, capture_service_client::CaptureServiceClient},
};
use tokio::{
    select,
    sync::mpsc,
    time::{self, Instant, MissedTickBehavior},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

use super::Link;

/// How long one call may take before the forwarder counts as hanging.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long exchanges gather before a batch that is not full is sent. Each send takes the processor from
/// those that relay, and so it is better done seldom.
const GATHER: Duration = Duration::from_millis(100);
/// Enough that the window of the queue, not this, bounds what is on its way.
const BATCHES_ON_THE_WAY: usize = 64;

type Client = CaptureServiceClient<InterceptedService<Channel, Token>>;

pub(super) struct Session<'a> {
    pub(super) link: &'a Link,
    pub(super) closing: &'a CancellationToken,
    pub(super) backoff: &'a mut Backoff,
}

impl Session<'_> {
    /// Ends without an error only when the epoch was closed in good order.
    pub(super) async fn run(&mut self) -> anyhow::Result<()> {
        let mut client = self.connect().await?;
        let check_in_every = self.register(&mut client).await?;
        self.backoff.reset();
        self.link.metrics.forwarder_connected.set(1);
        self.capture(&mut client, check_in_every).await?;
        self.check_in(&mut client, true).await
    }

    async fn connect(&self) -> anyhow::Result<Client> {
        let forwarder = &self.link.forwarder;
        let channel = forwarder
            .endpoint
            .clone()
            .connect_timeout(PATIENCE)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PATIENCE)
            .keep_alive_timeout(PATIENCE)
            .keep_alive_while_idle(true)
            .connect()
            .await
            .context("connect")?;
        tracing::info!(addr = forwarder.address, "Successfully connected to forwarder");
        let token = match &forwarder.token {
            Some(token) => Some(format!("Bearer {}", token.expose()).parse().context("use the token")?),
            None => None,
        };
        Ok(CaptureServiceClient::with_interceptor(channel, Token(token)))
    }

    /// Registers this epoch, or a fresh one when the forwarder does not know what it once stored.
    async fn register(&self, client: &mut Client) -> anyhow::Result<Duration> {
        let Link { identity, place, queue, .. } = self.link;
        loop {
            tracing::debug!("Attempting to register with forwarder");
            let request = wire::RegisterRequest {
                proxy_id: identity.instance.clone(),
                epoch: queue.epoch(),
                service: identity.service.clone(),
                namespace: identity.namespace.clone(),
                version: VERSION.to_owned(),
                proxy_type: "reverse".to_owned(),
                upstream_host: place.upstream_host.clone(),
                upstream_port: place.upstream_port.into(),
                started_at_ns: place.started_at_ns,
                listen_port: place.listen_port.into(),
            };
            let answer = patient(client.register(request)).await.context("register")?.into_inner();
            match queue.resume(answer.stored_through, fastrand::u64(1..)) {
                None => {
                    tracing::info!(proxyID = identity.instance, "Successfully registered with forwarder");
                    return Ok(Duration::from_millis(answer.check_in_interval_ms.clamp(100, 60_000).into()));
                }
                Some(epoch) => {
                    tracing::warn!(epoch, "the forwarder lost what it had stored; a new epoch begins");
                }
            }
        }
    }

    /// Sends and learns until the queue is empty after `closing`.
    async fn capture(&self, client: &mut Client, check_in_every: Duration) -> anyhow::Result<()> {
        let queue = &self.link.queue;
        let (batches, outgoing) = mpsc::channel(BATCHES_ON_THE_WAY);
        let mut answers = patient(client.capture(ReceiverStream::new(outgoing)))
            .await
            .context("open a stream")?
            .into_inner();
        let mut check_in = time::interval(check_in_every);
        check_in.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut send_at = Some(Instant::now());
        let mut waiting_since = None;
        loop {
            match queue.counts().in_flight {
                0 if self.closing.is_cancelled() => return Ok(()),
                0 => waiting_since = None,
                _ => waiting_since = waiting_since.or_else(|| Some(Instant::now())),
            }
            select! {
                answer = answers.message() => match answer {
                    Ok(Some(answer)) => {
                        queue.acknowledge(answer.stored_through);
                        waiting_since = None;
                        // There may have been no room on the way for what is full.
                        self.send(&batches, false);
                    }
                    Ok(None) => bail!("the forwarder ended the stream"),
                    Err(status) if status.code() == Code::InvalidArgument => {
                        queue.refuse(fastrand::u64(1..));
                        bail!("a batch was refused and is dropped: {}", status.message());
                    }
                    Err(status) => bail!("capture: {}", status.message()),
                },
                () = queue.filled(), if send_at.is_none() => send_at = Some(Instant::now() + GATHER),
                () = queue.full() => send_at = self.send(&batches, false).then(|| Instant::now() + GATHER),
                () = until(send_at) => send_at = self.send(&batches, true).then(|| Instant::now() + GATHER),
                _ = check_in.tick() => self.check_in(client, false).await?,
                () = self.closing.cancelled(), if !self.closing.is_cancelled() => send_at = Some(Instant::now()),
                () = until(waiting_since.map(|since| since + PATIENCE)) => bail!("no acknowledgement within {PATIENCE:?}"),
            }
        }
    }

    /// Sends what there is room for, with `flush` also what is not a full batch; says whether something is left.
    fn send(&self, batches: &mpsc::Sender<wire::CaptureRequest>, flush: bool) -> bool {
        while let Ok(room) = batches.try_reserve() {
            match self.link.queue.next(&self.link.identity.instance, flush) {
                Some(batch) => room.send(batch),
                None => break,
            }
        }
        self.link.queue.is_waiting()
    }

    async fn check_in(&self, client: &mut Client, closing: bool) -> anyhow::Result<()> {
        let Link { identity, queue, .. } = self.link;
        let request = wire::CheckInRequest {
            proxy_id: identity.instance.clone(),
            epoch: queue.epoch(),
            report: Some(queue.report()),
            closing,
        };
        patient(client.check_in(request)).await.context("check in")?;
        Ok(())
    }
}

/// Returns at this time, or never.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => time::sleep_until(time).await,
        None => future::pending().await,
    }
}

async fn patient<T>(call: impl Future<Output = Result<T, tonic::Status>>) -> anyhow::Result<T> {
    match time::timeout(PATIENCE, call).await {
        Ok(answer) => answer.map_err(|status| anyhow::anyhow!("{}: {}", status.code(), status.message())),
        Err(_) => bail!("no answer within {PATIENCE:?}"),
    }
}

/// Puts the token on every call.
#[derive(Clone)]
struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, tonic::Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}
