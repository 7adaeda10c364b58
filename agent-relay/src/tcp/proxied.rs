//! The PROXY header before what a client says: taken off, or put on for the server.

use std::{io, net::SocketAddr, time::Duration};

use proxy_header::{ParseConfig, ProxiedAddress, ProxyHeader};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time};

/// How long a header may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest header that is read.
const MOST_BYTES: usize = 4 << 10;

/// Takes the header off: returns whom it names, if anybody, and what came behind it.
pub(super) async fn take(stream: &mut TcpStream) -> io::Result<(Option<SocketAddr>, Vec<u8>)> {
    time::timeout(PATIENCE, read(stream)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn read(stream: &mut TcpStream) -> io::Result<(Option<SocketAddr>, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(256);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match parse(&bytes) {
            Ok(Some((source, length))) => return Ok((source, bytes.split_off(length))),
            Ok(None) if bytes.len() < MOST_BYTES => {}
            Ok(None) => return Err(io::ErrorKind::InvalidData.into()),
            Err(error) => return Err(error),
        }
    }
}

/// Whom a header names, and its length; `None` when more has to come.
fn parse(bytes: &[u8]) -> io::Result<Option<(Option<SocketAddr>, usize)>> {
    match ProxyHeader::parse(bytes, ParseConfig::default()) {
        Ok((header, length)) => Ok(Some((header.proxied_address().map(|told| told.source), length))),
        Err(proxy_header::Error::BufferTooShort) => Ok(None),
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    }
}

/// The header of this version for a connection.
pub(super) fn put(version: u8, client: SocketAddr, own: SocketAddr) -> Vec<u8> {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (client, mut own) = (plain(client), plain(own));
    if client.is_ipv4() != own.is_ipv4() {
        // Both have to be of one family; the port is what counts of ours.
        own = SocketAddr::new(client.ip(), own.port());
    }
    let header = ProxyHeader::with_address(ProxiedAddress::stream(client, own));
    let mut bytes = Vec::new();
    let put = if version == 1 { header.encode_v1(&mut bytes) } else { header.encode_v2(&mut bytes) };
    if put.is_err() {
        bytes.clear();
    }
    bytes
}

/// Whatever the bytes are, nothing panics, and a header is no longer than what it stands in.
pub(crate) fn attack(bytes: &[u8]) {
    if let Ok(Some((_, length))) = parse(bytes) {
        assert!(length <= bytes.len(), "a header ends within its bytes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_on_is_taken_off() {
        let (client, own): (SocketAddr, SocketAddr) =
            ("[::ffff:10.0.0.7]:5555".parse().unwrap(), "[::ffff:10.0.0.1]:3834".parse().unwrap());
        for version in [1, 2] {
            let mut bytes = put(version, client, own);
            let length = bytes.len();
            for end in 0..length {
                assert!(!matches!(parse(&bytes[..end]), Ok(Some(_))), "{version}: cut at {end}");
            }
            bytes.extend_from_slice(b"hello");
            let (source, taken) = parse(&bytes).unwrap().unwrap();
            assert_eq!((source, taken), (Some("10.0.0.7:5555".parse().unwrap()), length), "{version}");
        }
        assert!(parse(b"GET / HTTP/1.1\r\n").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_much(version in 1_u8..3, rest in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            attack(&rest);
            let mut bytes = put(version, "[fd00::1]:1".parse().unwrap(), "10.0.0.1:2".parse().unwrap());
            bytes.truncate(13);
            attack(&[bytes, rest].concat());
        }
    }
}
