//! Opens connections to upstreams: directly or through a web proxy, with TLS or without.

use std::{io, sync::Arc};

use common::drain::Drain;
use http::HeaderValue;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, rustls::ClientConfig, rustls::pki_types::ServerName};

use super::{Base, Body, WebProxy};

/// See the module.
pub(crate) struct Dialer {
    tls: TlsConnector,
    proxy: Option<WebProxy>,
}

impl Dialer {
    pub(super) fn new(tls: ClientConfig, proxy: Option<WebProxy>) -> Self {
        Self { tls: TlsConnector::from(Arc::new(tls)), proxy }
    }

    fn proxy(&self, base: &Base) -> Option<&WebProxy> {
        self.proxy.as_ref().filter(|proxy| proxy.is_for(&base.host))
    }

    /// Whether a web proxy gets requests for this upstream as such, and what it wants to hear with each.
    pub(super) fn forwarding(&self, base: &Base) -> Option<Option<HeaderValue>> {
        self.proxy(base).filter(|_| !base.tls).map(WebProxy::authorization)
    }

    /// A new connection. Names are resolved anew each time.
    pub(super) async fn open(&self, base: &Base, drain: &Drain) -> io::Result<http1::SendRequest<Body>> {
        let stream = match self.proxy(base) {
            Some(proxy) => {
                let mut stream = TcpStream::connect((proxy.host.as_str(), proxy.port)).await?;
                if base.tls {
                    proxy.connect(&mut stream, &base.authority()).await?;
                }
                stream
            }
            None => TcpStream::connect((base.host.as_str(), base.port)).await?,
        };
        stream.set_nodelay(true)?;
        if !base.tls {
            return speak(stream, drain).await;
        }
        let name = ServerName::try_from(base.host.clone()).map_err(io::Error::other)?;
        speak(self.tls.connect(name, stream).await?, drain).await
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    drain: &Drain,
) -> io::Result<http1::SendRequest<Body>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
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
