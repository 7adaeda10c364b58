//! The PROXY protocol, both versions, both ways: who a client really is.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use proxy_header::{Error, ParseConfig, ProxiedAddress, ProxyHeader};
use tokio::net::TcpStream;

use super::plan::ProxyVersion;

/// More than any header with extensions that is met in the wild.
const LONGEST: usize = 4096;
/// "A 108-byte buffer is always enough to store all the line and a trailing zero".
const LONGEST_LINE: usize = 107;
/// How a binary header begins, and how a line does.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V1: &[u8] = b"PROXY ";

/// What the start of a connection says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Introduction {
    /// More has to be seen.
    Incomplete,
    /// A header of so many bytes; from whom, unless it was said by a proxy for itself.
    Header(usize, Option<SocketAddr>),
    /// No header.
    Invalid,
}

/// Pure. Reads a header (HAProxy, "The PROXY protocol", versions 1 and 2).
pub fn introduction(bytes: &[u8]) -> Introduction {
    let may_become =
        |start: &[u8]| start.starts_with(bytes.get(..start.len().min(bytes.len())).unwrap_or_default());
    if !may_become(V1) && !may_become(V2) {
        return Introduction::Invalid;
    }
    if bytes.starts_with(V1) && !bytes.contains(&b'\n') {
        return if bytes.len() < LONGEST_LINE { Introduction::Incomplete } else { Introduction::Invalid };
    }
    match ProxyHeader::parse(bytes, ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true }) {
        Ok((header, length)) => {
            let source = header.proxied_address().map(|address| address.source);
            let canonical =
                |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
            Introduction::Header(length, source.map(canonical))
        }
        Err(Error::BufferTooShort) if bytes.len() < LONGEST && !bytes.starts_with(V1) => {
            Introduction::Incomplete
        }
        Err(_) => Introduction::Invalid,
    }
}

/// Pure. The header for a client that came here.
pub fn header(version: ProxyVersion, client: SocketAddr, here: SocketAddr) -> Vec<u8> {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    let (client, here) = (plain(client), plain(here));
    let (client, here) =
        if client.is_ipv4() == here.is_ipv4() { (client, here) } else { (mapped(client), mapped(here)) };
    let header = ProxyHeader::with_address(ProxiedAddress::stream(client, here));
    let mut bytes = Vec::new();
    let written = match version {
        ProxyVersion::V1 => header.encode_v1(&mut bytes),
        ProxyVersion::V2 => header.encode_v2(&mut bytes),
    };
    // Both ends are of one family and there are no extensions, so nothing can be refused.
    if written.is_err() {
        bytes.clear();
    }
    bytes
}

/// Takes the header off the start of a connection, and nothing behind it.
///
/// # Errors
/// When there is none.
pub async fn accept(client: &TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut bytes = Vec::new();
    loop {
        // Peeked first, so that what follows the header stays where it is.
        let mut ahead = [0; 256];
        let seen = client.peek(&mut ahead).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = bytes.len();
        bytes.extend_from_slice(ahead.get(..seen).unwrap_or_default());
        let (take, done) = match introduction(&bytes) {
            Introduction::Header(length, source) => (length.saturating_sub(before), Some(source)),
            Introduction::Incomplete => (seen, None),
            Introduction::Invalid => return Err(io::ErrorKind::InvalidData.into()),
        };
        let taken = client.try_read(ahead.get_mut(..take).unwrap_or_default())?;
        if taken != take {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(source) = done {
            return Ok(source);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V1_LINE: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 51122 22\r\n";

    #[test]
    fn a_header_is_read_wherever_it_is_split_and_not_a_byte_beyond() {
        let client: SocketAddr = "192.0.2.1:51122".parse().unwrap();
        let client6: SocketAddr = "[2001:db8::1]:51122".parse().unwrap();
        let here: SocketAddr = "192.0.2.2:22".parse().unwrap();
        assert_eq!(header(ProxyVersion::V1, client, here), V1_LINE);
        for (version, client) in [
            (ProxyVersion::V1, client),
            (ProxyVersion::V2, client),
            (ProxyVersion::V1, client6),
            (ProxyVersion::V2, client6),
        ] {
            let header = header(version, client, here);
            assert!(!header.is_empty());
            for length in 1..header.len() {
                assert_eq!(
                    introduction(&header[..length]),
                    Introduction::Incomplete,
                    "{length} of {header:?}"
                );
            }
            let more = [&header[..], b"SSH-2.0-x"].concat();
            assert_eq!(introduction(&more), Introduction::Header(header.len(), Some(client)));
        }
    }

    #[test]
    fn what_is_no_header_is_told_from_its_first_byte() {
        for bytes in [&b"SSH-2.0"[..], b"GET / HTTP/1.1", b"PROX ", b"PROXY TCP4 nonsense\r\n", b"\r\n\r\nx"]
        {
            assert_eq!(introduction(bytes), Introduction::Invalid, "{bytes:?}");
        }
        assert_eq!(introduction(b"PROXY UNKNOWN\r\n"), Introduction::Header(15, None));
    }

    proptest! {
        #[test]
        fn nothing_panics(start in 0usize..3, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let start = [&b""[..], V1, V2][start];
            introduction(&[start, &bytes].concat());
        }
    }
}
