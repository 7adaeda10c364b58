//! Accepts SDKs, speaks HTTP with them, and takes a connection out of it when it becomes a stream.

mod connection;

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use common::{drain::Drain, listen};
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, sync::Semaphore, time};
use tokio_rustls::TlsAcceptor;

pub(crate) use self::connection::Connection;
use self::connection::Lent;
use crate::{
    api::{Api, Outcome},
    stream,
};

/// How long a head may take, and how long a connection may wait for the next one.
const HEAD_TIME: Duration = Duration::from_secs(60);
/// How long a handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// A head may have a target of 262,144 characters, which is what SDKs send at the most, and everything else.
const MOST_HEAD_BYTES: usize = (256 + 32) << 10;
/// Handshakes at a time: when all SDKs come back at once, the first are done before the last begin.
const HANDSHAKES: usize = 32;

/// What every connection of SDKs needs.
pub(crate) struct Front {
    pub(crate) api: Arc<Api>,
    pub(crate) tls: Option<TlsAcceptor>,
    /// Connections.
    pub(crate) room: Arc<Semaphore>,
    pub(crate) handshakes: Semaphore,
    /// How long a stop takes to end all streams.
    pub(crate) spread: Duration,
}

/// The connection became a stream.
#[derive(Debug, thiserror::Error)]
#[error("the connection became a stream")]
struct Taken;

impl Front {
    pub(crate) fn new(api: Arc<Api>, tls: Option<TlsAcceptor>, room: usize, spread: Duration) -> Self {
        Self {
            api,
            tls,
            room: Arc::new(Semaphore::new(room.min(Semaphore::MAX_PERMITS))),
            handshakes: Semaphore::new(HANDSHAKES),
            spread,
        }
    }

    /// Accepts SDKs until the drain starts. Who finds no room waits to be accepted.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener, drain: Drain) {
        let taken = listen::accept(listener, &self.room, &drain, |stream, peer, room| {
            self.api.meters.connections.inc();
            let (own, until) = (Arc::clone(&self), drain.clone());
            drain.spawn_own(async move {
                // A stream lives long, and what HTTP needed until then is not its business.
                if let Some((opening, connection)) = Box::pin(own.greet(stream, peer, &until)).await {
                    let (api, spread) = (Arc::clone(&own.api), own.spread);
                    stream::serve(api, *opening, connection, spread, until).await;
                }
                drop(room);
            });
        });
        if let Err(error) = taken.await {
            tracing::error!(%error, "SDKs cannot be accepted");
            drain.ask();
        }
    }

    async fn greet(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        drain: &Drain,
    ) -> Option<(Box<crate::api::Opening>, Connection)> {
        stream.set_nodelay(true).ok();
        let connection = match &self.tls {
            None => Connection::Plain(stream),
            Some(acceptor) => {
                let turn = self.handshakes.acquire().await.ok()?;
                let shaken = tokio::select! {
                    shaken = time::timeout(HANDSHAKE_TIME, acceptor.accept(stream)) => shaken,
                    () = drain.insisted() => return None,
                };
                drop(turn);
                match shaken {
                    Ok(Ok(stream)) => Connection::Tls(Box::new(stream)),
                    failed => {
                        tracing::debug!(%peer, ?failed, "a handshake failed");
                        return None;
                    }
                }
            }
        };
        self.converse(connection, peer, drain).await
    }

    async fn converse(
        &self,
        connection: Connection,
        peer: SocketAddr,
        drain: &Drain,
    ) -> Option<(Box<crate::api::Opening>, Connection)> {
        let lent = Lent::new(connection);
        let opened = std::sync::Mutex::new(None);
        let service = service_fn(|request: Request<Incoming>| async {
            match self.api.ask(request).await {
                Outcome::Answer(answer) => Ok::<Response<_>, Taken>(answer.into_response()),
                Outcome::Stream(opening) => {
                    *opened.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(opening);
                    Err(Taken)
                }
            }
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(MOST_HEAD_BYTES)
            .half_close(true)
            .serve_connection(TokioIo::new(lent.clone()), service);
        let ended = {
            let mut serving = std::pin::pin!(serving);
            tokio::select! {
                ended = serving.as_mut() => ended,
                () = drain.lingered() => {
                    serving.as_mut().graceful_shutdown();
                    tokio::select! {
                        ended = serving => ended,
                        () = drain.insisted() => {
                            drain.count_cut();
                            return None;
                        }
                    }
                }
            }
        };
        let opening = opened.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let (None, Err(error)) = (&opening, &ended) {
            tracing::debug!(%peer, %error, "a connection of an SDK broke");
        }
        Some((opening?, lent.take()?))
    }
}

#[cfg(test)]
mod tests;
