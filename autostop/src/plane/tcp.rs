//! One TCP connection from accept to end: let in or parked, dialed, relayed.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use common::{quiet::Quiet, relay};
use socket2::{SockRef, TcpKeepalive};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time};

use super::{
    Plane,
    dial::{self, Reached},
    gate::{Full, Visit, Wanter},
    park::{self, Outcome},
    plan::{Port, Preset},
    proxied, tell,
    visitor::{Kind, Visitor, Watching},
};

/// One that is sent away wants the target awake for so long: it may come again.
const AGAIN: Duration = Duration::from_secs(5);
/// After this silence a peer is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(60);
/// How often one is asked of whom it is not clear whether it is there.
const DOUBT: Duration = Duration::from_secs(5);
/// How long a client may take to say who it is in the PROXY protocol.
const INTRODUCTION: Duration = Duration::from_secs(5);

/// Serves one connection on this thread.
pub(super) fn start(client: TcpStream, peer: SocketAddr, listen_port: u16, plane: &Arc<Plane>) {
    // The plan may just have lost the port.
    let Some(port) = plane.plan().ports.get(&listen_port).cloned() else { return };
    let plane = Arc::clone(plane);
    plane.metrics.connections.inc();
    let drain = plane.drain.clone();
    drain.spawn_own(async move { serve(client, peer, listen_port, port, plane).await });
}

async fn serve(client: TcpStream, peer: SocketAddr, listen_port: u16, port: Port, plane: Arc<Plane>) {
    tune(&client);
    let mut peer = peer;
    if port.proxy_protocol_in {
        match time::timeout(INTRODUCTION, proxied::accept(&client)).await {
            Ok(Ok(told)) => peer = told.unwrap_or(peer),
            _ => return plane.metrics.refuse("proxy_protocol"),
        }
    }
    let preset = port.preset;
    let detail = format!("port {listen_port}");
    let floor = preset.floor();
    let visitor =
        Visitor::new(Kind::Connection, peer, preset.name(), detail, floor, preset == Preset::Postgres);
    let target = &port.target;
    match target.gate.enter(visitor, port.target_port, target.hold.clients) {
        Ok(mut visit) => carry(client, &mut visit, &port, &plane).await,
        Err(Full) => {
            plane.metrics.refuse("full");
            reset(&client);
        }
    }
}

async fn carry(client: TcpStream, visit: &mut Visit, port: &Port, plane: &Plane) {
    let drain = &plane.drain;
    let mut held = Vec::new();
    let arrived = time::Instant::now();
    let mut server = loop {
        let mut turn = None;
        if !visit.is_through() {
            match Box::pin(park::park(&client, visit, port, &mut held, arrived, drain)).await {
                Outcome::Through => turn = visit.gate().pace().acquire_owned().await.ok(),
                Outcome::Left => return tracing::debug!(peer = %visit.visitor().peer, "left while it waited"),
                Outcome::Cut => return drain.count_cut(),
                Outcome::Refused(notice) => {
                    plane.metrics.refuse(if notice.failure.is_some() { "failed" } else { "late" });
                    if !held.is_empty() && port.target.may_wake(visit.visitor().peer.ip()) {
                        visit.gate().want_for(AGAIN, Wanter::from(visit.visitor()));
                    }
                    return tell::tell(client, port.preset, &mut held, &notice).await;
                }
                Outcome::Closed => {
                    plane.metrics.refuse("closed");
                    return reset(&client);
                }
            }
        }
        let reached = tokio::select! {
            biased;
            reached = dial::reach(visit, |place| async move { place.connect(port.target_port).await }) => reached,
            () = drain.insisted() => return drain.count_cut(),
        };
        drop(turn);
        match reached {
            Reached::There(server) => break server,
            Reached::Parked => {}
            Reached::Failed(error) => {
                plane.metrics.dial_failures.inc();
                static QUIET: Quiet = Quiet::new(Duration::from_secs(5));
                if let Some(suppressed) = QUIET.speak(Instant::now()) {
                    let rule = visit.gate().rule_id();
                    let port = port.target_port;
                    tracing::warn!(rule, port, %error, suppressed, "a target that is awake does not answer");
                }
                return reset(&client);
            }
        }
    };
    tune(&server);
    tune(&client);
    if let Some(version) = port.target.proxy_protocol_out {
        let here = client.local_addr().unwrap_or(visit.visitor().peer);
        let header = proxied::header(version, visit.visitor().peer, here);
        if server.write_all(&header).await.is_err() {
            plane.metrics.dial_failures.inc();
            return reset(&client);
        }
    }
    tracing::debug!(peer = %visit.visitor().peer, rule = visit.gate().rule_id(), "Connection established");
    visit.delivered();
    let visitor = visit.visitor_shared();
    relay::relay_held(held, client, server, &mut Watching(&visitor), drain).await;
}

/// Small messages go at once, and a peer that vanished is noticed within minutes: it would keep the
/// target awake. Without these options the connection works all the same.
pub(super) fn tune(stream: &TcpStream) {
    stream.set_nodelay(true).ok();
    let keepalive = TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE / 4);
    SockRef::from(stream).set_tcp_keepalive(&keepalive).ok();
}

/// One that has ended its half may still wait, or may have left. When it has left, its system knows
/// nothing of the connection any more after a minute, and answers with a reset when it is asked.
pub(super) fn doubt(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new().with_time(DOUBT).with_interval(DOUBT);
    SockRef::from(stream).set_tcp_keepalive(&keepalive).ok();
}

/// Ends the connection with a reset, which is as near to a refusal as an accepted one comes.
pub(super) fn reset(client: &TcpStream) {
    SockRef::from(client).set_linger(Some(Duration::ZERO)).ok();
}
