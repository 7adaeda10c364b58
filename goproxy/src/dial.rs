//! Connects to the service: its name resolved anew each time, every address tried.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpStream, lookup_host},
    time,
};

use crate::config::Upstream;

/// How long one address may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the service could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its name has no address.
    #[error("lookup {host}: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// None of its addresses answered; this is the last one.
    #[error("dial tcp {address}: connect: {}", plain(.source))]
    Connect {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    /// What was tried: an address, or the name when there was none.
    pub fn target(&self, upstream: &Upstream) -> String {
        match self {
            Self::Resolve { .. } => format!("{}:{}", upstream.host, upstream.port),
            Self::Connect { address, .. } => address.to_string(),
        }
    }
}

/// `connection refused` rather than `Connection refused (os error 111)`.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// Connects, and says where to.
///
/// # Errors
/// When the name cannot be resolved or no address accepts.
pub async fn dial(upstream: &Upstream) -> Result<(TcpStream, SocketAddr), Error> {
    let failed = |source| Error::Resolve { host: upstream.host.clone(), source };
    let mut last = None;
    for address in lookup_host((upstream.host.as_str(), upstream.port)).await.map_err(failed)? {
        let connected = time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => return Ok((stream, address)),
            Err(source) => last = Some(Error::Connect { address, source }),
        }
    }
    Err(last.unwrap_or_else(|| failed(io::Error::other("no address"))))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_refusal_reads_as_the_reference_shows_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = dial(&Upstream { host: "127.0.0.1".to_owned(), port }).await.unwrap_err();
        assert_eq!(error.to_string(), format!("dial tcp 127.0.0.1:{port}: connect: connection refused"));
    }

    #[tokio::test]
    async fn every_address_of_a_name_is_tried() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (_, address) = dial(&Upstream { host: "localhost".to_owned(), port }).await.unwrap();
        assert_eq!(address, listener.local_addr().unwrap());
    }
}
