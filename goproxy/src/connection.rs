//! One connection from accept to end: dial, relay, tell.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use common::{
    drain::Drain,
    exchange::{Connection, End},
    quiet::Quiet,
    relay::{self, Tap as _},
};
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::{
    config::Upstream,
    decode::Side,
    dial,
    tap::{Outlet, Tap, now_ns},
};

/// What all connections of a proxy share.
#[derive(Clone)]
pub struct Shared {
    /// Where they lead.
    pub upstream: Arc<Upstream>,
    /// Where what they carry is told.
    pub outlet: Outlet,
    /// The number of the next one.
    pub numbers: Arc<AtomicU64>,
}

/// Serves one connection to its end.
pub async fn serve(client: TcpStream, downstream: SocketAddr, shared: Shared, drain: Drain) {
    let metrics = Arc::clone(&shared.outlet.metrics);
    metrics.connections.inc();
    metrics.connections_active.inc();
    carry(client, downstream, shared, &drain).await;
    metrics.connections_active.dec();
}

async fn carry(client: TcpStream, downstream: SocketAddr, shared: Shared, drain: &Drain) {
    let accepted = Instant::now();
    let number = shared.numbers.fetch_add(1, Ordering::Relaxed);
    let connection =
        Connection { number, accepted_at_ns: now_ns(), downstream: canonical(downstream), upstream: None };
    let dialed = tokio::select! {
        biased;
        dialed = dial::dial(&shared.upstream) => dialed,
        () = drain.insisted() => return drain.count_cut(),
    };
    match dialed {
        Ok((server, address)) => {
            tune(&client);
            tune(&server);
            tracing::debug!(remoteAddr = %connection.downstream, directAddr = %address, cid = number, "Connection established");
            let mut tap =
                Tap::new(shared.outlet, Connection { upstream: Some(address), ..connection }, accepted);
            let end = relay::relay(client, server, &mut tap, drain).await;
            tap.end(end);
        }
        Err(error) => {
            shared.outlet.metrics.dial_failures.inc();
            tell(&error, &shared.upstream, connection.downstream);
            refuse(client, Tap::new(shared.outlet, connection, accepted));
        }
    }
}

/// An IPv4 client of a dual-stack listener as what it is.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Small messages go at once, and a peer that vanished is noticed some day. Without these options the
/// connection works all the same.
fn tune(stream: &TcpStream) {
    stream.set_nodelay(true).ok();
    SockRef::from(stream).set_keepalive(true).ok();
}

fn tell(error: &dial::Error, upstream: &Upstream, downstream: SocketAddr) {
    static QUIET: Quiet = Quiet::new(Duration::from_secs(5));
    let Some(suppressed) = QUIET.speak(Instant::now()) else { return };
    tracing::error!(addr = error.target(upstream), error = %error, suppressed, "dial() ERR could not connect");
    let Upstream { host, port } = upstream;
    tracing::error!(error = %error, "DIRECT|{downstream}...{host}:{port}|Could not connect, giving up");
}

/// A client whose service cannot be reached is reset, which is as near to a refusal as an accepted
/// connection comes; what it had sent by then is told.
fn refuse(client: TcpStream, mut tap: Tap) {
    let mut sent = vec![0; 16 << 10];
    if let Ok(length @ 1..) = client.try_read(&mut sent) {
        tap.bytes(Side::Client, sent.get(..length).unwrap_or_default());
    }
    tap.end(End::AbortedByServer);
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).ok();
}
