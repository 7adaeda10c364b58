//! Sends seeded, realistic exchanges to a forwarder as fast as it acknowledges them, as one goproxy would.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a tool for measurements: it stops where something is wrong, and prints what it measured"
)]

mod traffic;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use common::wire::{
    self, CaptureRequest, CheckInRequest, RegisterRequest, Report,
    capture_service_client::CaptureServiceClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use self::traffic::Traffic;

const BATCH_BYTES: usize = 256 << 10;
/// As goproxy's window: so many batches may be unacknowledged.
const WINDOW: usize = 32;

/// Send seeded exchanges to a forwarder and tell how fast they were stored.
#[derive(Parser)]
struct Args {
    /// The forwarder's gRPC address.
    #[arg(long, default_value = "127.0.0.1:8888")]
    to: String,
    /// How many exchanges.
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
    /// What to generate; the same seed generates the same.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The exchanges are spread evenly over so many seconds before now.
    #[arg(long, default_value_t = 86_400)]
    span_seconds: u64,
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_methods, reason = "no daemon: its tasks end with it")]
async fn main() {
    let args = Args::parse();
    let mut client = CaptureServiceClient::connect(format!("http://{}", args.to)).await.expect("a forwarder");
    let (proxy_id, epoch) = ("bench-1".to_owned(), args.seed.max(1));
    let register = RegisterRequest {
        proxy_id: proxy_id.clone(),
        epoch,
        service: "shop".to_owned(),
        namespace: "bench".to_owned(),
        version: "v0".to_owned(),
        proxy_type: "reverse".to_owned(),
        ..RegisterRequest::default()
    };
    client.register(register).await.expect("registered");
    let (batches, outgoing) = mpsc::channel(WINDOW);
    let mut answers = client.capture(ReceiverStream::new(outgoing)).await.expect("a stream").into_inner();

    let started = Instant::now();
    let id = proxy_id.clone();
    let sender = tokio::spawn(async move {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let span = Duration::from_secs(args.span_seconds);
        let first_ns = u64::try_from((now - span).as_nanos()).expect("before 2554");
        let step_ns = u64::try_from(span.as_nanos()).expect("short enough") / args.count.max(1);
        let mut traffic = Traffic::new(args.seed, first_ns, step_ns);
        let mut sequence = 0;
        while sequence < args.count {
            let first_sequence = sequence + 1;
            let mut bytes = Vec::with_capacity(BATCH_BYTES + 4096);
            while bytes.len() < BATCH_BYTES && sequence < args.count {
                let (connection, exchange) = traffic.next();
                wire::Opening::from(&connection).with(&exchange).append_to(&mut bytes);
                sequence += 1;
            }
            let batch = CaptureRequest {
                proxy_id: id.clone(),
                epoch,
                first_sequence,
                count: u32::try_from(sequence - first_sequence + 1).expect("a batch is small"),
                exchanges: bytes.into(),
                report: Some(Report { seen: sequence, sequenced: sequence, ..Report::default() }),
            };
            batches.send(batch).await.expect("the forwarder listens");
        }
        (traffic.raw_bytes(), batches)
    });
    let mut stored = 0;
    while stored < args.count {
        stored = answers.message().await.expect("no error").expect("more answers").stored_through;
    }
    let seconds = started.elapsed().as_secs_f64();
    let (raw_bytes, _open) = sender.await.expect("the sender ends");
    let report = Report { seen: stored, sequenced: stored, ..Report::default() };
    let close = CheckInRequest { proxy_id, epoch, report: Some(report), closing: true };
    client.check_in(close).await.expect("closed");
    println!("{{\"stored\":{stored},\"seconds\":{seconds:.3},\"raw_bytes\":{raw_bytes}}}");
}
