//! Bytes, ends, resets and back-pressure pass as if nobody stood between.

use std::{io::ErrorKind, time::Duration};

use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
    time,
};

use super::*;

#[derive(Default)]
struct Seen {
    client: Vec<u8>,
    server: Vec<u8>,
    ends: Vec<Side>,
    busy: bool,
}

impl Tap for Seen {
    fn bytes(&mut self, from: Side, bytes: &[u8]) {
        match from {
            Side::Client => self.client.extend_from_slice(bytes),
            Side::Server => self.server.extend_from_slice(bytes),
        }
    }

    fn half_closed(&mut self, from: Side) {
        self.ends.push(from);
    }

    fn is_idle(&self) -> bool {
        !self.busy
    }
}

struct Scene {
    client: TcpStream,
    server: TcpStream,
    relay: JoinHandle<(End, Seen)>,
    drain: Drain,
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

async fn scene_with(mut seen: Seen) -> Scene {
    let ((client, downstream), (upstream, server)) = tokio::join!(pair(), pair());
    let drain = Drain::default();
    let own = drain.clone();
    #[expect(clippy::disallowed_methods, reason = "the test waits for it itself")]
    let relay = tokio::spawn(async move { (relay(downstream, upstream, &mut seen, &own).await, seen) });
    Scene { client, server, relay, drain }
}

async fn scene() -> Scene {
    scene_with(Seen::default()).await
}

async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    all
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}

#[tokio::test]
async fn a_half_close_passes_and_the_other_half_goes_on() {
    let mut scene = scene().await;
    scene.client.write_all(b"question").await.unwrap();
    scene.client.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut scene.server).await, b"question");
    scene.server.write_all(b"late answer").await.unwrap();
    scene.server.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut scene.client).await, b"late answer");
    let (end, seen) = scene.relay.await.unwrap();
    assert_eq!(end, End::AbortedByClient, "whoever ended first would have aborted what was open");
    assert_eq!((seen.client.as_slice(), seen.server.as_slice()), (&b"question"[..], &b"late answer"[..]));
    assert_eq!(seen.ends, [Side::Client, Side::Server]);
}

#[tokio::test]
async fn bytes_that_were_held_go_first_and_are_tapped() {
    let ((mut client, downstream), (upstream, mut server)) = tokio::join!(pair(), pair());
    let (mut seen, drain) = (Seen::default(), Drain::default());
    client.write_all(b" and then").await.unwrap();
    client.shutdown().await.unwrap();
    let (_, heard) =
        tokio::join!(relay_held(b"first".to_vec(), downstream, upstream, &mut seen, &drain), async {
            let heard = read_to_end(&mut server).await;
            server.shutdown().await.unwrap();
            heard
        });
    assert_eq!(heard, b"first and then");
    assert_eq!(seen.client, heard);
}

#[tokio::test]
async fn a_reset_by_the_client_resets_the_server() {
    let mut scene = scene().await;
    scene.client.write_all(b"x").await.unwrap();
    assert_eq!(scene.server.read_u8().await.unwrap(), b'x');
    close::reset(scene.client);
    let error = scene.server.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(scene.relay.await.unwrap().0, End::AbortedByClient);
}

#[tokio::test]
async fn a_reset_by_the_server_resets_the_client_behind_what_it_had_said() {
    let mut scene = scene().await;
    let said = noise(1, 300_000);
    let (wrote, ()) = tokio::join!(scene.server.write_all(&said), async {
        let mut some = vec![0; 100_000];
        scene.client.read_exact(&mut some).await.unwrap();
        assert_eq!(some, said[..100_000]);
    });
    wrote.unwrap();
    // Let the relay take the rest before the reset overtakes it in the server's own kernel.
    let mut rest = vec![0; 200_000];
    scene.client.read_exact(&mut rest).await.unwrap();
    assert_eq!(rest, said[100_000..]);
    close::reset(scene.server);
    let error = scene.client.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(scene.relay.await.unwrap().0, End::AbortedByServer);
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_arrives_whole() {
    let mut scene = scene().await;
    // A request that nobody reads to its end: the server answers, closes, and so resets.
    let flood = vec![2; 64 << 20];
    let (mut reads, mut writes) = scene.client.into_split();
    #[expect(clippy::disallowed_methods, reason = "the test waits for it itself")]
    let writer = tokio::spawn(async move { writes.write_all(&flood).await });
    let mut start = vec![0; 1000];
    scene.server.read_exact(&mut start).await.unwrap();
    scene.server.write_all(b"413 enough").await.unwrap();
    scene.server.shutdown().await.unwrap();
    let mut answer = vec![0; 10];
    reads.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"413 enough");
    drop(scene.server);
    assert!(writer.await.unwrap().is_err(), "the client is told that nobody reads on");
    assert_eq!(scene.relay.await.unwrap().0, End::AbortedByServer);
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_server() {
    let mut scene = scene().await;
    let chunk = vec![7; 1 << 20];
    let mut sent = 0usize;
    // Both kernels' buffers fill; then the server must block.
    while let Ok(written) = time::timeout(Duration::from_millis(300), scene.server.write(&chunk)).await {
        sent += written.unwrap();
        assert!(sent < 256 << 20, "nothing holds the server back");
    }
    scene.server.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut scene.client).await.len(), sent);
    drop(scene.client);
    assert_eq!(scene.relay.await.unwrap().1.server.len(), sent);
}

#[tokio::test]
async fn a_stop_closes_a_connection_at_rest_and_waits_for_a_busy_one() {
    let mut idle = scene().await;
    idle.client.write_all(b"x").await.unwrap();
    assert_eq!(idle.server.read_u8().await.unwrap(), b'x');
    idle.drain.ask();
    assert_eq!(read_to_end(&mut idle.client).await, b"");
    assert_eq!(idle.relay.await.unwrap().0, End::Complete);
    assert_eq!(idle.drain.cut(), 0);

    let mut busy = scene_with(Seen { busy: true, ..Seen::default() }).await;
    busy.drain.ask();
    busy.client.write_all(b"still here").await.unwrap();
    let mut heard = [0; 10];
    busy.server.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"still here");
    busy.drain.insist();
    assert_eq!(busy.relay.await.unwrap().0, End::Cut);
    assert_eq!(busy.drain.cut(), 1);
}

async fn exchange_in_pieces(up: Vec<u8>, down: Vec<u8>, pieces: Vec<usize>) {
    let scene = scene().await;
    let (mut client_reads, mut client_writes) = scene.client.into_split();
    let (mut server_reads, mut server_writes) = scene.server.into_split();
    let write = async |writes: &mut tokio::net::tcp::OwnedWriteHalf, bytes: &[u8]| {
        let mut rest = bytes;
        for piece in pieces.iter().cycle() {
            let (now, later) = rest.split_at((*piece).min(rest.len()));
            writes.write_all(now).await.unwrap();
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        writes.shutdown().await.unwrap();
    };
    let (mut came_up, mut came_down) = (Vec::new(), Vec::new());
    let (_, _, up_read, down_read) = tokio::join!(
        write(&mut client_writes, &up),
        write(&mut server_writes, &down),
        server_reads.read_to_end(&mut came_up),
        client_reads.read_to_end(&mut came_down),
    );
    up_read.unwrap();
    down_read.unwrap();
    let (_, seen) = scene.relay.await.unwrap();
    assert!(came_up == up && came_down == down, "what arrives is what was sent");
    assert!(seen.client == up && seen.server == down, "what is tapped is what was sent");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_byte_arrives_and_is_tapped_in_order(
        seed: u64,
        up in 0usize..600_000,
        down in 0usize..600_000,
        pieces in prop::collection::vec(1usize..200_000, 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(exchange_in_pieces(noise(seed, up), noise(!seed, down), pieces));
    }
}
