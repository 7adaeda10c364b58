//! HTTP and HTTPS: each request goes to the target of its host and path, or waits for it.

mod answer;
mod body;
mod downstream;
mod fields;
mod forward;
mod hold;
mod page;
mod upgrade;
mod websocket;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time,
};
use tokio_rustls::TlsAcceptor;

pub(super) use self::body::Uplink;
use self::downstream::Downstream;
use super::{Plane, route::Entrance, tcp, upstream::Pool};

/// How long a client may take to begin to speak TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take to say what it wants, also between two requests.
const QUESTION: Duration = Duration::from_secs(75);

/// Where a request came in.
pub(super) struct Entry {
    pub(super) peer: SocketAddr,
    pub(super) entrance: Entrance,
    pub(super) plane: Arc<Plane>,
    pub(super) pool: Arc<Pool>,
}

/// Serves one connection on this thread.
pub(super) fn start(
    client: TcpStream,
    peer: SocketAddr,
    entrance: Entrance,
    plane: &Arc<Plane>,
    pool: &Arc<Pool>,
) {
    plane.metrics.connections.inc();
    tcp::tune(&client);
    let entry = Entry { peer, entrance, plane: Arc::clone(plane), pool: Arc::clone(pool) };
    plane.drain.spawn_own(serve(client, Arc::new(entry)));
}

async fn serve(client: TcpStream, entry: Arc<Entry>) {
    let client = Downstream::new(client);
    let left = client.clone();
    let patience = entry.plane.left_after;
    let peer = entry.peer;
    tokio::select! {
        () = serve_until(client, entry) => {}
        () = left.left(patience) => tracing::debug!(%peer, "the client has left"),
    }
}

async fn serve_until(client: Downstream, entry: Arc<Entry>) {
    if !entry.entrance.tls {
        return converse(client, entry).await;
    }
    let config = Arc::clone(&entry.plane.tls);
    let secured = tokio::select! {
        secured = time::timeout(HANDSHAKE, TlsAcceptor::from(config).accept(client)) => secured,
        () = entry.plane.drain.insisted() => return,
    };
    match secured {
        Ok(Ok(client)) => Box::pin(converse(client, entry)).await,
        Ok(Err(error)) => tracing::debug!(peer = %entry.peer, %error, "no TLS"),
        Err(_) => tracing::debug!(peer = %entry.peer, "no TLS in time"),
    }
}

async fn converse<S>(client: S, entry: Arc<Entry>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut server = auto::Builder::new(TokioExecutor::new());
    // A client that has ended its half may still wait for its answer.
    server.http1().half_close(true).timer(TokioTimer::new()).header_read_timeout(QUESTION);
    server
        .http2()
        .timer(TokioTimer::new())
        .adaptive_window(true)
        .enable_connect_protocol()
        .keep_alive_interval(Duration::from_secs(20));
    let drain = entry.plane.drain.clone();
    let peer = entry.peer;
    let service = service_fn(move |request| answer::answer(request, Arc::clone(&entry)));
    let mut conversation =
        std::pin::pin!(server.serve_connection_with_upgrades(TokioIo::new(client), service));
    let ended = tokio::select! {
        ended = conversation.as_mut() => ended,
        () = drain.started() => {
            conversation.as_mut().graceful_shutdown();
            tokio::select! {
                ended = conversation.as_mut() => ended,
                () = drain.insisted() => return drain.count_cut(),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, error, "conversation broke");
    }
}
