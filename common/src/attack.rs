//! What the fuzzers call with bytes of their choice; the ordinary tests call it too.

use std::{fs, net::SocketAddr, path::Path};

use bytes::BytesMut;
use prost::Message as _;

use crate::chunked::{Scanner, Status, content};
use crate::exchange::{Connection, Exchange, Message};
use crate::wire;

/// Chunked coding: scanned whole and byte by byte must be the same.
#[expect(clippy::panic, reason = "an attack that succeeds must be seen")]
pub fn chunked(bytes: &[u8]) {
    let mut whole = Scanner::default();
    let scanned = whole.scan(bytes);
    let mut single = Scanner::default();
    let (mut body, mut trailers, mut status) = (0, 0, Status::More);
    for byte in bytes {
        if status == Status::More {
            let scanned = single.scan(std::slice::from_ref(byte));
            body += scanned.body;
            trailers += scanned.trailers;
            status = scanned.status;
        }
    }
    if (body, trailers, status) != (scanned.body, scanned.trailers, scanned.status)
        || single.content_bytes() != whole.content_bytes()
        || content(bytes).len() as u64 != whole.content_bytes()
        || (single.bare_lf(), single.control_byte()) != (whole.bare_lf(), whole.control_byte())
    {
        panic!("a split changed what is seen: {whole:?} {single:?}");
    }
}

/// Exchanges off the wire or off disk: what is understood is what prost reads in the same bytes, and must survive
/// being written again.
#[expect(clippy::panic, reason = "an attack that succeeds must be seen")]
pub fn wire_exchange(bytes: &[u8]) {
    let mut exchanges = BytesMut::new();
    // A BytesMut grows as needed.
    prost::encode_length_delimiter(bytes.len(), &mut exchanges).unwrap_or_default();
    exchanges.extend_from_slice(bytes);
    if let Some((connection, exchange)) = only(exchanges) {
        let Ok(told) = wire::Exchange::decode(bytes) else { panic!("prost does not read what we do") };
        if told != as_told(&told, &connection, exchange.clone()) || !addresses_are(&told, &connection) {
            panic!("prost reads something else: {told:?}");
        }
        let opening = wire::Opening::from(&connection);
        let entry = opening.with(&exchange);
        let mut written = Vec::new();
        entry.append_to(&mut written);
        if written.len() != entry.bytes() {
            panic!("an exchange told its length wrong");
        }
        if !written.ends_with(&of_itself(exchange.clone()).encode_to_vec()) {
            panic!("prost writes something else: {exchange:?}");
        }
        if only(written.as_slice().into()) != Some((connection, exchange)) {
            panic!("an exchange changed when it was written again");
        }
    }
    if let Ok(batch) = wire::CaptureRequest::decode(bytes)
        && let Ok(exchanges) = batch.decode_exchanges()
        && exchanges.len() != batch.count as usize
    {
        panic!("a batch of {} held {}", batch.count, exchanges.len());
    }
}

/// What a batch holds that should hold one exchange.
fn only(exchanges: BytesMut) -> Option<(Connection, Exchange)> {
    let exchanges = exchanges.freeze();
    let batch =
        wire::CaptureRequest { first_sequence: 1, count: 1, exchanges, ..wire::CaptureRequest::default() };
    let exchange = batch.decode_exchanges().ok()?.pop()?;
    Some((exchange.1, exchange.2))
}

/// The message that says this, with its addresses as they were told.
fn as_told(told: &wire::Exchange, connection: &Connection, exchange: Exchange) -> wire::Exchange {
    wire::Exchange {
        connection: connection.number,
        connected_at_ns: connection.accepted_at_ns,
        downstream: told.downstream.clone(),
        upstream: told.upstream.clone(),
        ..of_itself(exchange)
    }
}

/// What an exchange says of itself.
fn of_itself(exchange: Exchange) -> wire::Exchange {
    let message = |message: Message| wire::Message {
        first_byte_ns: message.first_byte_ns,
        last_byte_ns: message.last_byte_ns,
        head: message.head,
        head_bytes: message.head_bytes,
        framing: wire::Framing::from(message.framing).into(),
        body: message.body,
        body_bytes: message.body_bytes,
        wire_bytes: message.wire_bytes,
        trailers: message.trailers,
    };
    wire::Exchange {
        index: exchange.index,
        protocol: exchange.protocol as i32,
        end: exchange.end as i32,
        request: Some(message(exchange.request)),
        response: exchange.response.map(message),
        informational: exchange.informational,
        findings: exchange.findings.into_iter().map(|finding| finding as u32).collect(),
        ..wire::Exchange::default()
    }
}

fn addresses_are(told: &wire::Exchange, connection: &Connection) -> bool {
    let address = |text: &str| text.parse::<SocketAddr>().ok();
    (address(&told.downstream), address(&told.upstream)) == (Some(connection.downstream), connection.upstream)
}

/// Attacks with every file of this corpus in `fuzz/corpus`, from the folder of a crate of the workspace.
#[expect(clippy::panic, reason = "a corpus that is not there must be seen")]
pub fn replay(crate_folder: &str, corpus: &str, attack: fn(&[u8])) {
    let folder = Path::new(crate_folder).join("../fuzz/corpus").join(corpus);
    let files: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().collect();
    if files.is_empty() {
        panic!("no corpus of {corpus}");
    }
    for file in files {
        attack(&fs::read(file.path()).unwrap_or_default());
    }
}
