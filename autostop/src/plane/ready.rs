//! Whether a target that runs is ready: its port takes what its clients speak, and its health check is good.

use std::time::Duration;

use http::{Request, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time,
};

use super::{
    dial::Place,
    plan::{Health, Preset},
    upstream,
};
use crate::hold::postgres;

/// How long one look may take: a port that is filtered answers nothing.
const LOOK: Duration = Duration::from_secs(1);

/// What has to be so.
#[derive(Clone, Debug)]
pub struct Check {
    /// This port accepts a connection.
    pub port: u16,
    /// What is spoken there. A database accepts connections before it takes sessions.
    pub preset: Preset,
    /// And this is good.
    pub health: Option<Health>,
}

/// Whether it is so at this place.
pub async fn is_ready(place: &Place, check: &Check) -> bool {
    if !matches!(time::timeout(LOOK, answers(place, check)).await, Ok(Some(true))) {
        return false;
    }
    match &check.health {
        None => true,
        Some(health) => matches!(time::timeout(health.timeout, is_well(place, health)).await, Ok(Some(true))),
    }
}

async fn answers(place: &Place, check: &Check) -> Option<bool> {
    let mut stream = place.connect(check.port).await.ok()?;
    if check.preset != Preset::Postgres {
        return Some(true);
    }
    stream.write_all(&postgres::greeting()).await.ok()?;
    let mut said = [0; 512];
    let length = stream.read(&mut said).await.ok()?;
    Some(length > 0 && !postgres::is_starting_up(said.get(..length).unwrap_or_default()))
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
