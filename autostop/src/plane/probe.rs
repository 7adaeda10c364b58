//! Finds out when a waking target is ready: one search for all who wait for the same port.

use std::{sync::Arc, time::Duration};

use common::drain::Drain;
use http::{Request, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{self, Instant},
};

use super::{
    dial::Place,
    gate::Gate,
    plan::{Health, Target},
    upstream,
};

/// How often it is looked at first, and for how long so often.
const OFTEN: Duration = Duration::from_millis(50);
const OFTEN_FOR: Duration = Duration::from_secs(5);
const SELDOM: Duration = Duration::from_millis(500);
/// How long one look may take: a port that is filtered answers nothing.
const LOOK: Duration = Duration::from_secs(1);

/// Begins the search, unless somebody searches already or there is nothing to look for.
pub(super) fn begin(target: &Arc<Target>, port: u16, drain: &Drain) {
    if target.gate.begin_probe(port) {
        let (gate, health) = (Arc::clone(&target.gate), target.health.clone());
        let search = search(gate, health, port);
        let drain_own = drain.clone();
        drain.spawn_own(async move {
            tokio::select! {
                () = search => {}
                () = drain_own.insisted() => {}
            }
        });
    }
}

async fn search(gate: Arc<Gate>, health: Option<Health>, port: u16) {
    let started = Instant::now();
    let mut pause = OFTEN;
    while let Some(places) = gate.probe(port) {
        let looked = Instant::now();
        for place in places.iter() {
            if is_ready(place, health.as_ref(), port).await {
                tracing::info!(rule = gate.rule_id(), at = place.at(port), "target is ready");
                gate.answered(port, &places);
                break;
            }
        }
        if started.elapsed() > OFTEN_FOR {
            pause = (pause * 3 / 2).min(SELDOM);
        }
        time::sleep_until(looked + pause).await;
    }
}

async fn is_ready(place: &Place, health: Option<&Health>, port: u16) -> bool {
    let connects = time::timeout(LOOK, place.connect(port));
    if !matches!(connects.await, Ok(Ok(_))) {
        return false;
    }
    match health {
        None => true,
        Some(health) => matches!(time::timeout(health.timeout, is_well(place, health)).await, Ok(Some(true))),
    }
}

/// Whether the target says that it is well, in the way of its health check.
async fn is_well(place: &Place, health: &Health) -> Option<bool> {
    let stream = place.connect(health.port).await.ok()?;
    let Some(path) = &health.path else { return Some(true) };
    let status = if health.tls {
        ask(upstream::secure(stream, place.host(), &[]).await.ok()?, path, place, health.port).await?
    } else {
        ask::<TcpStream>(stream, path, place, health.port).await?
    };
    Some(health.good.contains(&status))
}

async fn ask<S>(stream: S, path: &str, place: &Place, port: u16) -> Option<u16>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    let request = Request::get(path)
        .header(header::HOST, place.at(port))
        .header(header::USER_AGENT, "wayside-autostop")
        .header(header::CONNECTION, "close")
        .body(Empty::<bytes::Bytes>::new())
        .ok()?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    let answer = tokio::select! {
        biased;
        answer = answer.as_mut() => answer,
        // It ends with the answer, which is there then.
        _ = connection => answer.await,
    };
    Some(answer.ok()?.status().as_u16())
}
