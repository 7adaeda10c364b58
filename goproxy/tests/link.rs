//! The link against a forwarder that is as rude as chance makes it: every exchange arrives once and in order.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    env,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use common::{
    exchange::{Connection, End, Exchange, Message, Protocol},
    wire::{
        CaptureRequest, CaptureResponse, CheckInRequest, CheckInResponse, Opening, RegisterRequest,
        RegisterResponse,
        capture_service_server::{CaptureService, CaptureServiceServer},
    },
};
use goproxy::{
    config::{Forwarder, Identity},
    link::{Link, Place},
    metrics::Metrics,
    queue::Queue,
};
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt as _, wrappers::TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Endpoint, Server},
};

const EXCHANGES: u64 = 1500;

struct State {
    random: fastrand::Rng,
    epoch: u64,
    stored_through: u64,
    /// The indexes of everything stored, in order of arrival.
    stored: Vec<u64>,
    closed: bool,
    rudeness: u32,
}

impl State {
    /// True once in so many times, until it has been rude often enough.
    fn rude(&mut self, once_in: u32) -> bool {
        let rude = self.rudeness > 0 && self.random.u32(0..once_in) == 0;
        self.rudeness -= u32::from(rude);
        rude
    }

    fn store(&mut self, batch: &CaptureRequest) -> Result<u64, Status> {
        let report = batch.report.as_ref().unwrap();
        assert_eq!(report.seen, report.sequenced);
        if batch.epoch != self.epoch || batch.first_sequence > self.stored_through + 1 {
            return Err(Status::out_of_range("a gap"));
        }
        for (sequence, _, exchange) in batch.decode_exchanges().unwrap() {
            if sequence > self.stored_through {
                self.stored_through = sequence;
                self.stored.push(exchange.index);
            }
        }
        Ok(self.stored_through)
    }
}

#[derive(Clone)]
struct Rude(Arc<Mutex<State>>);

#[tonic::async_trait]
impl CaptureService for Rude {
    type CaptureStream = Pin<Box<dyn Stream<Item = Result<CaptureResponse, Status>> + Send>>;

    async fn register(
        &self,
        request: Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        let mut state = self.0.lock().unwrap();
        if state.rude(4) {
            return Err(Status::unavailable("not now"));
        }
        let epoch = request.into_inner().epoch;
        if epoch != state.epoch {
            state.epoch = epoch;
            state.stored_through = 0;
        }
        if state.rude(6) {
            // Its disk was replaced: it knows nothing of this epoch any more.
            state.stored_through = 0;
        }
        Ok(Response::new(RegisterResponse {
            stored_through: state.stored_through,
            check_in_interval_ms: 100,
        }))
    }

    async fn check_in(&self, request: Request<CheckInRequest>) -> Result<Response<CheckInResponse>, Status> {
        let mut state = self.0.lock().unwrap();
        if state.rude(8) {
            return Err(Status::internal("never mind"));
        }
        state.closed = request.into_inner().closing;
        Ok(Response::new(CheckInResponse {}))
    }

    async fn capture(
        &self,
        request: Request<Streaming<CaptureRequest>>,
    ) -> Result<Response<Self::CaptureStream>, Status> {
        let state = Arc::clone(&self.0);
        let answers = request.into_inner().filter_map(move |batch| {
            let mut state = state.lock().unwrap();
            let batch = batch.ok()?;
            if state.rude(5) {
                return Some(Err(Status::unavailable("the disk is full, or it was not stored")));
            }
            let stored = state.store(&batch).map(|stored_through| CaptureResponse { stored_through });
            match state.random.u8(0..4) {
                // Stored, and the answer is lost with the stream.
                0 if state.rude(2) => Some(Err(Status::aborted("stored, but you will not know"))),
                // Stored, and told with a later one.
                1 if state.rudeness > 0 => None,
                _ => Some(stored),
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

async fn serve(rude: Rude) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_service(CaptureServiceServer::new(rude));
    #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

fn exchange(index: u64, body: usize) -> Exchange {
    let request = Message { body: vec![b'x'; body].into(), wire_bytes: body as u64, ..Message::default() };
    let (response, informational, findings) = Default::default();
    Exchange {
        index,
        protocol: Protocol::Http1,
        request,
        response,
        informational,
        end: End::Complete,
        findings,
    }
}

async fn play(seed: u64) {
    let random = fastrand::Rng::with_seed(seed);
    let state =
        State { random, epoch: 0, stored_through: 0, stored: Vec::new(), closed: false, rudeness: 12 };
    let rude = Rude(Arc::new(Mutex::new(state)));
    let address = serve(rude.clone()).await;
    let queue = Arc::new(Queue::new(64 << 20, 1));
    let link = Link {
        identity: Identity { service: "s".to_owned(), instance: "i".to_owned(), namespace: "n".to_owned() },
        forwarder: Forwarder {
            address: address.to_string(),
            endpoint: Endpoint::from_shared(format!("http://{address}")).unwrap(),
            token: None,
        },
        queue: Arc::clone(&queue),
        metrics: Arc::new(Metrics::default()),
        place: Place { listen_port: 1, upstream_host: "u".to_owned(), upstream_port: 2, started_at_ns: 3 },
    };
    let closing = CancellationToken::new();
    let offer = async {
        let mut random = fastrand::Rng::with_seed(!seed);
        let connection = Connection {
            number: 0,
            accepted_at_ns: 1,
            downstream: ([127, 0, 0, 1], 1).into(),
            upstream: None,
        };
        for index in 0..EXCHANGES {
            let body = if random.u8(0..50) == 0 { 100_000 } else { random.usize(0..2000) };
            assert!(queue.budget().take(body));
            queue.offer(&Opening::from(&connection), exchange(index, body), body);
            if random.u8(0..10) == 0 {
                // Sleeps: so that what is offered spreads over several batches.
                tokio::time::sleep(Duration::from_millis(random.u64(1..20))).await;
            }
        }
        while queue.counts().in_flight > 0 {
            // Sleeps: between two looks at the queue.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        rude.0.lock().unwrap().rudeness = 0;
        closing.cancel();
    };
    let both = async { tokio::join!(offer, link.run(closing.clone())) };
    tokio::time::timeout(Duration::from_secs(120), both)
        .await
        .unwrap_or_else(|_| panic!("seed {seed} hangs"));

    let state = rude.0.lock().unwrap();
    let counts = queue.counts();
    assert_eq!(
        (counts.seen, counts.acknowledged, counts.in_flight),
        (EXCHANGES, EXCHANGES, 0),
        "seed {seed}"
    );
    assert!(state.closed, "seed {seed}: the epoch was closed in good order");
    // A forwarder that forgot an epoch may get again what it had stored and not acknowledged.
    let mut once = state.stored.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once, (0..EXCHANGES).collect::<Vec<_>>(), "seed {seed}");
    assert_eq!(queue.budget().used(), 0, "seed {seed}");
}

/// `WAYSIDE_SOAK` asks for so many seeds; the ordinary run takes a few.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_exchange_arrives_whatever_the_forwarder_does() {
    let seeds = env::var("WAYSIDE_SOAK").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(3);
    for seed in 0..seeds {
        play(seed).await;
    }
}
