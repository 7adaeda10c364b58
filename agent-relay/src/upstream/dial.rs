//! Opens connections to upstreams: directly or through a web proxy, with TLS or without.

use std::{io, net::SocketAddr, sync::Arc};

use common::drain::Drain;
use http::HeaderValue;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, rustls::ClientConfig, rustls::pki_types::ServerName};

use super::{Base, Body, Proxies, WebProxy, names::Names};

/// So much of a request waits to be written, and the head of an answer may be so long.
const MOST_BUFFERED: usize = 64 << 10;

/// See the module.
pub(crate) struct Dialer {
    tls: TlsConnector,
    proxies: Proxies,
    names: Arc<Names>,
}

impl Dialer {
    pub(super) fn new(tls: ClientConfig, proxies: Proxies, names: Arc<Names>) -> Self {
        Self { tls: TlsConnector::from(Arc::new(tls)), proxies, names }
    }

    fn proxy(&self, base: &Base) -> Option<&WebProxy> {
        self.proxies.of(base)
    }

    /// Whether a web proxy gets requests for this upstream as such, and what it wants to hear with each.
    pub(super) fn forwarding(&self, base: &Base) -> Option<Option<HeaderValue>> {
        self.proxy(base).filter(|_| !base.tls).map(WebProxy::authorization)
    }

    /// The name that is connected to for this upstream.
    fn host<'a>(&'a self, base: &'a Base) -> &'a str {
        self.proxy(base).map_or(base.host.as_str(), |proxy| proxy.host.as_str())
    }

    /// Whether the way to this upstream still leads to this address.
    pub(super) fn leads_to(&self, base: &Base, peer: SocketAddr) -> bool {
        self.names.leads_to(self.host(base), peer)
    }

    /// Has it asked again where the way leads, if that is due.
    pub(super) fn refresh(&self, base: &Base, drain: &Drain) {
        self.names.refresh(self.host(base), drain);
    }

    /// A new connection, and whom it leads to.
    pub(super) async fn open(
        &self,
        base: &Base,
        drain: &Drain,
    ) -> io::Result<(http1::SendRequest<Body>, SocketAddr)> {
        let (host, port) = self
            .proxy(base)
            .map_or((base.host.as_str(), base.port), |proxy| (proxy.host.as_str(), proxy.port));
        let mut stream = self.names.connect(host, port).await?;
        let peer = stream.peer_addr()?;
        if let Some(proxy) = self.proxy(base).filter(|_| base.tls) {
            proxy.connect(&mut stream, &base.authority()).await?;
        }
        stream.set_nodelay(true)?;
        if !base.tls {
            return Ok((speak(stream, drain).await?, peer));
        }
        let name = ServerName::try_from(base.host.clone()).map_err(io::Error::other)?;
        Ok((speak(self.tls.connect(name, stream).await?, drain).await?, peer))
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    drain: &Drain,
) -> io::Result<http1::SendRequest<Body>> {
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(MOST_BUFFERED)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let until = drain.clone();
    // It ends with the last who uses it; what is cut is counted by whoever waits for the answer.
    drain.spawn_own(async move {
        tokio::select! {
            ended = connection => if let Err(error) = ended {
                tracing::debug!(%error, "a connection to an upstream broke");
            },
            () = until.insisted() => {}
        }
    });
    Ok(sender)
}
