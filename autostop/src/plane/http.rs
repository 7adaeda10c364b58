//! HTTP and HTTPS: each request goes to the target of its host and path, or waits for it.

mod answer;
mod body;
mod downstream;
mod fields;
mod forward;
mod hold;
mod page;
mod upgrade;
mod version;
mod websocket;

use std::{net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use common::drain::Drain;
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time,
};
use tokio_rustls::TlsAcceptor;

pub(super) use self::body::Uplink;
use self::{downstream::Downstream, version::Version};
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
    let (drain, peer) = (entry.plane.drain.clone(), entry.peer);
    let begun = tokio::select! {
        biased;
        begun = version::begin(client, QUESTION) => begun,
        () = drain.lingered() => return,
    };
    let (version, client) = match begun {
        Ok((version, client)) => (version, TokioIo::new(client)),
        Err(error) => return tracing::debug!(%peer, %error, "nothing was asked"),
    };
    let service = service_fn(move |request| answer::answer(request, Arc::clone(&entry)));
    match version {
        Version::One => {
            let mut server = http1::Builder::new();
            // A client that has ended its half may still wait for its answer.
            server.half_close(true).timer(TokioTimer::new()).header_read_timeout(QUESTION);
            let conversation = server.serve_connection(client, service).with_upgrades();
            until_its_end(conversation, http1::UpgradeableConnection::graceful_shutdown, &drain, peer).await;
        }
        Version::Two => {
            let mut server = http2::Builder::new(TokioExecutor::new());
            server
                .timer(TokioTimer::new())
                .adaptive_window(true)
                .enable_connect_protocol()
                .keep_alive_interval(Duration::from_secs(20));
            let conversation = server.serve_connection(client, service);
            let end = http2::Connection::graceful_shutdown;
            Box::pin(until_its_end(conversation, end, &drain, peer)).await;
        }
    }
}

async fn until_its_end<C>(conversation: C, end: impl Fn(Pin<&mut C>), drain: &Drain, peer: SocketAddr)
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut conversation = std::pin::pin!(conversation);
    let ended = tokio::select! {
        ended = conversation.as_mut() => ended,
        () = drain.lingered() => {
            end(conversation.as_mut());
            tokio::select! {
                ended = conversation.as_mut() => ended,
                () = drain.insisted() => return drain.count_cut(),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "conversation broke");
    }
}

#[cfg(test)]
mod tests {
    use std::mem::size_of_val;

    use super::*;

    /// Whoever waits keeps all of this until the target is ready; ten thousand may.
    #[tokio::test]
    async fn one_who_waits_takes_little_room() {
        let drain = Drain::default();
        let plane = Arc::new(Plane::new(drain, QUESTION).unwrap());
        let entrance = Entrance { tls: false, port: 80, is_standard: true };
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let entry = Arc::new(Entry { peer, entrance, plane, pool: Arc::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let task = size_of_val(&serve(client, entry));
        let answer = size_of_what(answer::answer);
        assert!(task < 2560 && answer < 2048, "{task} and {answer} bytes");
    }

    fn size_of_what<A, F: Future>(_: impl Fn(A, Arc<Entry>) -> F) -> usize {
        size_of::<F>()
    }
}
