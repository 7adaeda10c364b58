//! What connections begin with.

use common::exchange::Protocol;

use super::Sniffer;
use crate::decode::Side;

/// The client sends these bytes, whole or one at a time: the protocol is told after `needed` of them.
fn check(bytes: &[u8], told: Option<Protocol>, needed: usize) {
    let text = bytes.escape_ascii().to_string();
    let mut whole = Sniffer::default();
    assert_eq!(whole.bytes(Side::Client, bytes, 1), told, "{text}");
    assert_eq!(whole.prefix(), if told.is_none() { bytes } else { b"" }, "{text}");
    let mut single = Sniffer::default();
    for (at, byte) in bytes.iter().enumerate() {
        let now = single.bytes(Side::Client, std::slice::from_ref(byte), 1);
        if now.is_some() {
            assert_eq!((now, at + 1), (told, needed), "{text}");
            assert_eq!(single.prefix(), &bytes[..at], "{text}");
            return;
        }
    }
    assert_eq!((told, bytes.len()), (None, needed), "{text}");
}

#[test]
fn the_first_bytes_of_the_client_tell_the_protocol() {
    let (http1, http2, tls, tcp) =
        (Some(Protocol::Http1), Some(Protocol::Http2), Some(Protocol::Tls), Some(Protocol::Tcp));
    for (bytes, told, needed) in [
        (&b"GET / HTTP/1.1\r\n"[..], http1, 4),
        (b"\r\n\r\nGET /", http1, 8),
        (b"M-SEARCH * HTTP/1.1\r\n", http1, 9),
        (b"A ", http1, 2),
        (b"X_2-Y /", http1, 6),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0", http2, 24),
        (b"PRI * HTTP/2.0\r\n\r\nXX", http1, 19),
        (b"PRI /", http1, 5),
        (b"PRINT x", http1, 6),
        (b"\x16\x03\x01\x02\x00\x01", tls, 2),
        (b"\x16\x04", tcp, 2),
        (b"\x15\x03", tcp, 1),
        (b"get / HTTP/1.1", tcp, 1),
        (b"GeT / HTTP/1.1", tcp, 2),
        (b" GET / HTTP/1.1", tcp, 1),
        (b"1GET / HTTP/1.1", tcp, 1),
        (b"GET\r\n", tcp, 4),
        (b"PING\r\n", tcp, 5),
        (b"\0\0\0\x08\x04\xd2\x16\x2f", tcp, 1),
        (b"*1\r\n$4\r\nPING\r\n", tcp, 1),
        (b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF /", http1, 33),
        (b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG /", tcp, 33),
        (b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET /", tcp, 40),
        (b"", None, 0),
        (b"GET", None, 3),
        (b"\r\n", None, 2),
        (b"\x16", None, 1),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None, 23),
    ] {
        check(bytes, told, needed);
    }
}

#[test]
fn a_server_that_speaks_first_is_not_understood() {
    let mut sniffer = Sniffer::default();
    assert_eq!(sniffer.bytes(Side::Client, b"GE", 1), None);
    assert_eq!(sniffer.bytes(Side::Server, b"", 2), None);
    assert_eq!(sniffer.bytes(Side::Server, b"HTTP/1.1 408 \r\n\r\n", 3), Some(Protocol::Tcp));
    assert_eq!((sniffer.prefix(), sniffer.seen().bytes), (&b"GE"[..], 2));
}
