//! A message of the attacker's choice, redacted: no length changes, and chunks stay chunks.

use bytes::Bytes;
use common::{
    chunked,
    exchange::{End, Exchange, Framing, Message, Protocol},
};

use crate::redact::{Key, Redactor, names::Names};

/// The first byte chooses the framing; the rest is a head, an empty line, and a body.
pub fn redact(bytes: &[u8]) {
    let (choice, message) = bytes.split_first().unwrap_or((&0, &[]));
    let end = memchr::memmem::find(message, b"\r\n\r\n").map_or(message.len(), |at| at + 4);
    let (head, body) = message.split_at(end);
    let framing = if choice % 2 == 0 { Framing::Length } else { Framing::Chunked };
    let before = Message {
        head: Bytes::copy_from_slice(head),
        head_bytes: head.len() as u64,
        framing,
        body: Bytes::copy_from_slice(body),
        wire_bytes: body.len() as u64,
        ..Message::default()
    };
    let redactor = Redactor {
        key: Key::of(&"the same for every run".into()),
        headers: Names::new(["authorization", "cookie", "token"]),
        fields: Names::new(["password", "token", "pin"]),
        keep_unreadable: choice & 2 != 0,
    };
    let mut exchange = Exchange {
        index: 0,
        protocol: Protocol::Http1,
        request: before.clone(),
        response: None,
        informational: vec![before.head.clone()],
        end: End::Complete,
        findings: Vec::new(),
    };
    let found = redactor.redact(&mut exchange);
    let after = exchange.request;
    assert_eq!(found, !exchange.findings.is_empty());
    assert_eq!((after.head.len(), after.body.len()), (before.head.len(), before.body.len()));
    assert_eq!(exchange.informational, [after.head], "the same bytes become the same");
    if framing == Framing::Chunked {
        assert_eq!(chunked::content_ranges(&after.body), chunked::content_ranges(&before.body));
    }
}
