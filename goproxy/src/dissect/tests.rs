//! From the first byte to the end, through every change of decoder.

use common::exchange::{End, Finding, Protocol};

use super::Dissector;
use crate::attack::Record;
use crate::decode::{Limits, Lost, Side};

const LIMITS: Limits = Limits { head: 4096, body: 4096 };

#[test]
fn bytes_seen_before_the_protocol_is_told_are_part_of_the_first_exchange() {
    let mut record = Record::new(usize::MAX);
    let mut dissector = Dissector::new(LIMITS);
    for (at_ns, byte) in (1..).zip(b"GET / HTTP/1.1\r\n\r\n") {
        assert_eq!(dissector.protocol(), (at_ns > 4).then_some(Protocol::Http1));
        dissector.bytes(Side::Client, &[*byte], at_ns, &mut record);
    }
    dissector.finish(End::Cut, 50, &mut record);
    let request = &record.exchanges[0].request;
    assert_eq!(&*request.head, b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!((request.first_byte_ns, request.last_byte_ns), (1, 18));
}

#[test]
fn a_connection_that_never_was_http_is_counted_from_its_first_byte() {
    let mut record = Record::new(usize::MAX);
    let mut dissector = Dissector::new(LIMITS);
    dissector.bytes(Side::Client, b"SE", 1, &mut record);
    dissector.bytes(Side::Client, b"T a ", 2, &mut record);
    assert_eq!(dissector.protocol(), Some(Protocol::Http1));
    dissector.bytes(Side::Client, b"b\r\nGET a\r\n", 3, &mut record);
    assert_eq!((dissector.protocol(), record.reserved), (Some(Protocol::Tcp), 0));
    dissector.bytes(Side::Server, b"+OK\r\n", 4, &mut record);
    dissector.finish(End::Complete, 5, &mut record);
    let [exchange] = record.exchanges.as_slice() else { panic!("{record:?}") };
    assert_eq!((exchange.index, exchange.protocol, exchange.findings.len()), (0, Protocol::Tcp, 0));
    assert_eq!((exchange.request.wire_bytes, exchange.request.body_bytes), (16, 16));
    assert_eq!((exchange.request.first_byte_ns, exchange.request.last_byte_ns), (1, 3));
    assert_eq!(exchange.response.as_ref().unwrap().wire_bytes, 5);
    assert!(record.requests.is_empty());
}

#[test]
fn a_connection_without_a_byte_is_no_exchange() {
    let mut record = Record::new(usize::MAX);
    let mut dissector = Dissector::new(LIMITS);
    dissector.bytes(Side::Client, b"", 1, &mut record);
    dissector.half_closed(Side::Client, 2, &mut record);
    dissector.finish(End::Complete, 3, &mut record);
    assert!(record.exchanges.is_empty() && dissector.protocol().is_none());
}

#[test]
fn an_upgrade_counts_the_bytes_behind_both_heads() {
    let mut record = Record::new(usize::MAX);
    let mut dissector = Dissector::new(LIMITS);
    let ask = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\nearly";
    let agree = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nhi";
    dissector.bytes(Side::Client, ask, 1, &mut record);
    dissector.bytes(Side::Server, agree, 2, &mut record);
    assert_eq!(dissector.protocol(), Some(Protocol::WebSocket));
    dissector.bytes(Side::Server, b"and more", 3, &mut record);
    dissector.finish(End::AbortedByClient, 4, &mut record);
    let [first, stream] = record.exchanges.as_slice() else { panic!("{record:?}") };
    assert_eq!((first.end, stream.end, stream.index), (End::Complete, End::AbortedByClient, 1));
    assert_eq!((stream.request.wire_bytes, stream.request.first_byte_ns), (5, 1));
    let server = stream.response.as_ref().unwrap();
    assert_eq!((server.wire_bytes, server.first_byte_ns, server.last_byte_ns), (10, 2, 3));
}

#[test]
fn a_decoder_that_failed_loses_what_was_open_and_nothing_else() {
    let mut record = Record::new(usize::MAX);
    let mut dissector = Dissector::new(LIMITS);
    for _ in 0..3 {
        dissector.bytes(Side::Client, b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 1, &mut record);
    }
    dissector.bytes(Side::Server, b"HTTP/1.1 204 \r\n\r\nHTTP/1.1 200 OK\r\n", 2, &mut record);
    assert!(record.reserved > 0);
    dissector.give_up(&mut record);
    assert_eq!(record.lost, [(1, Lost::Decoder), (2, Lost::Decoder)]);
    assert_eq!((record.exchanges.len(), record.reserved), (1, 0));
    dissector.bytes(Side::Server, b"Content-Length: 0\r\n\r\n", 3, &mut record);
    dissector.give_up(&mut record);
    dissector.finish(End::Complete, 4, &mut record);
    let stream = &record.exchanges[1];
    assert_eq!((stream.index, stream.protocol), (3, Protocol::Tcp));
    assert_eq!(stream.findings, [Finding::DecoderFailed]);
    assert_eq!((stream.request.wire_bytes, stream.response.as_ref().unwrap().wire_bytes), (0, 21));
}
