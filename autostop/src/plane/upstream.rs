//! Connections to targets that speak HTTP, kept for the next request.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use common::{
    kept::Kept,
    trust::{self, Trust},
};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};

use super::{dial::Place, http::Uplink, tcp};

/// How long TLS and HTTP may take to begin.
const BEGINNING: Duration = Duration::from_secs(10);
/// How long a connection is kept that nobody uses.
const KEEP: Duration = Duration::from_secs(50);
/// How many are kept for one place.
const KEPT: usize = 1024;

/// Where and how a target is spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) port: u16,
    pub(super) tls: bool,
    pub(super) http2: bool,
}

/// One connection.
pub(super) enum Sender {
    /// Takes one request at a time.
    One(http1::SendRequest<Uplink>),
    /// Takes many.
    Many(http2::SendRequest<Uplink>),
}

struct Shelf {
    /// What was said over a connection to a target that has slept since is lost.
    generation: u64,
    free: Kept<http1::SendRequest<Uplink>>,
    shared: Option<http2::SendRequest<Uplink>>,
}

/// The connections of one worker.
#[derive(Default)]
pub(super) struct Pool {
    shelves: Mutex<HashMap<Key, Shelf>>,
}

impl Pool {
    fn shelves(&self) -> MutexGuard<'_, HashMap<Key, Shelf>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that is open already, of this time awake.
    pub(super) fn take(&self, key: &Key, generation: u64) -> Option<Sender> {
        let mut shelves = self.shelves();
        let shelf = shelves.get_mut(key)?;
        shelf.renew(generation);
        if let Some(shared) = shelf.shared.clone().filter(|shared| !shared.is_closed()) {
            return Some(Sender::Many(shared));
        }
        shelf.free.take(Instant::now(), |sender| !sender.is_closed()).map(Sender::One)
    }

    /// A connection that can be used again.
    pub(super) fn put(&self, key: Key, generation: u64, sender: http1::SendRequest<Uplink>) {
        if sender.is_closed() {
            return;
        }
        let mut shelves = self.shelves();
        let shelf = shelves.entry(key).or_insert_with(|| Shelf::new(generation));
        if shelf.generation > generation {
            return;
        }
        shelf.renew(generation);
        shelf.free.put(sender, Instant::now(), |sender| !sender.is_closed());
    }

    fn share(&self, key: &Key, generation: u64, sender: &http2::SendRequest<Uplink>) {
        let mut shelves = self.shelves();
        let shelf = shelves.entry(key.clone()).or_insert_with(|| Shelf::new(generation));
        shelf.renew(generation);
        shelf.shared = Some(sender.clone());
    }

    /// Opens a connection; what is said first on it is this.
    pub(super) async fn open(&self, key: &Key, generation: u64, first: &[u8]) -> io::Result<Sender> {
        let mut stream = key.place.connect(key.port).await?;
        tcp::tune(&stream);
        stream.write_all(first).await?;
        let begun = time::timeout(BEGINNING, async {
            if !key.tls {
                return begin(stream, key.http2).await;
            }
            let alpn: &[&[u8]] = if key.http2 { &[b"h2"] } else { &[b"http/1.1"] };
            let stream = secure(stream, key.place.host(), alpn).await?;
            begin(stream, key.http2).await
        });
        let sender = begun.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        if let Sender::Many(shared) = &sender {
            // One that begins with words of its own is for one client only.
            if first.is_empty() {
                self.share(key, generation, shared);
            }
        }
        Ok(sender)
    }
}

impl Shelf {
    fn new(generation: u64) -> Self {
        Self { generation, free: Kept::new(KEPT, KEEP), shared: None }
    }

    fn renew(&mut self, generation: u64) {
        if self.generation != generation {
            *self = Self::new(generation);
        }
    }
}

async fn begin<S>(stream: S, http2: bool) -> io::Result<Sender>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let stream = TokioIo::new(stream);
    if http2 {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .adaptive_window(true)
            .keep_alive_interval(Duration::from_secs(20))
            .handshake(stream)
            .await
            .map_err(io::Error::other)?;
        keep(async move { drop(connection.await) });
        Ok(Sender::Many(sender))
    } else {
        let (sender, connection) = http1::Builder::new().handshake(stream).await.map_err(io::Error::other)?;
        keep(async move { drop(connection.with_upgrades().await) });
        Ok(Sender::One(sender))
    }
}

/// Runs a connection for as long as requests hold its other end.
fn keep(connection: impl Future<Output = ()> + Send + 'static) {
    #[expect(clippy::disallowed_methods, reason = "a stop waits for the request on it, not for it")]
    tokio::spawn(connection);
}

/// Speaks TLS to a target. Its certificate is not checked: machines that are put to sleep have
/// self-signed ones or none for their address, and the network to them is the operator's.
///
/// # Errors
/// When the target does not speak TLS.
pub(super) async fn secure(
    stream: TcpStream,
    host: &str,
    alpn: &[&[u8]],
) -> io::Result<TlsStream<TcpStream>> {
    // Made once: it remembers sessions, so that the next handshake is a short one.
    static CONFIG: LazyLock<Option<ClientConfig>> = LazyLock::new(|| trust::client(&Trust::Anybody).ok());
    let mut config = CONFIG.clone().ok_or_else(|| io::Error::other("the cryptography cannot be used"))?;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}
