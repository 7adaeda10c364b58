//! Properties of the decoder, for valid conversations and for any bytes.

use common::exchange::{End, Exchange, Finding, Framing, Protocol};
use proptest::prelude::*;
use proptest::sample::select;

use super::Http1;
use crate::attack::{self, Event, Record, check};
use crate::decode::{Decoder, Limits, Next, Side};

/// What conversations are made of, for better and for worse.
const CLIENT: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\n\r\n",
    b"HEAD / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n",
    b"POST /x HTTP/1.0\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
    b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"GET /a b HTTP/1.1\n\n",
    b"nonsense\r\n",
    b"G",
];
const SERVER: &[&[u8]] = &[
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204\r\n\r\n",
    b"HTTP/1.1 100 \r\n\r\n",
    b"HTTP/1.1 101 \r\nUpgrade: h2c\r\n\r\n",
    b"HTTP/1.0 304 \r\n\r\n",
    b"HTTP/1.1 400 Bad\r\n\r\n",
    b"nonsense",
    b"H",
];
const EITHER: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\0",
    b"Content-Length: 3\r\n",
    b"Content-Length: 3, 3\r\n",
    b"Content-Length:\r\n 3\r\n",
    b"Content-Length: +3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked, gzip\r\n",
    b"transfer-encoding : CHUNKED\r\n",
    b"Upgrade: websocket\r\n",
    b"Host: a\r\n",
    b"no colon\r\n",
    b"abc",
    b"1\r\na\r\n",
    b"3;x=y\r\nabc\r\n",
    b"0\r\n\r\n",
    b"0\r\nA: b\r\n\r\n",
    b"zz\r\n",
];

fn event() -> impl Strategy<Value = Event> {
    let from = |side, own: &'static [&'static [u8]]| {
        let fragment = prop_oneof![select(own), select(EITHER), Just(&b"\r\n"[..])];
        prop::collection::vec(fragment, 1..6).prop_map(move |parts| Event::Bytes(side, parts.concat()))
    };
    prop_oneof![
        6 => from(Side::Client, CLIENT),
        6 => from(Side::Server, SERVER),
        1 => select(vec![Event::HalfClosed(Side::Client), Event::HalfClosed(Side::Server)]),
    ]
}

proptest! {
    // More than others, and as many as a soak wants.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(1000)))]

    #[test]
    fn anything_like_http_keeps_the_laws(
        events in prop::collection::vec(event(), 1..8), end in select(End::ALL), seed in any::<u64>(),
    ) {
        // Behind its end a side sends nothing.
        let mut closed = [false; 2];
        let mut events = events;
        events.retain(|event| match event {
            Event::Bytes(from, _) => !closed[*from as usize],
            Event::HalfClosed(from) => !std::mem::replace(&mut closed[*from as usize], true),
        });
        events.insert(0, Event::Bytes(Side::Client, b"GET / HTTP/1.1\r\nA: b\r\n".to_vec()));
        check(&events, end, seed);
    }
}

#[test]
fn a_request_and_its_response_are_an_exchange() {
    let events = [
        Event::Bytes(Side::Client, b"GET /a HTTP/1.1\r\nHost: b\r\n\r\n".to_vec()),
        Event::Bytes(Side::Server, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec()),
    ];
    let record = check(&events, End::Complete, 0);
    assert_eq!(record.requests, [(0, b"/a".to_vec())]);
    assert_eq!(record.responses, [(0, 5)]);
    let [exchange] = record.exchanges.as_slice() else { panic!("{record:?}") };
    assert_eq!((exchange.protocol, exchange.end), (Protocol::Http1, End::Complete));
    let response = exchange.response.as_ref().unwrap();
    assert_eq!((response.framing, response.body_bytes, &*response.body), (Framing::Length, 5, &b"hello"[..]));
    assert_eq!((exchange.request.first_byte_ns, response.first_byte_ns), (1, 2));
}

/// One valid message of either kind, with what must be understood of it.
#[derive(Clone, Debug)]
struct Valid {
    request: Vec<u8>,
    response: Vec<u8>,
    request_content: usize,
    response_content: usize,
}

fn body() -> impl Strategy<Value = (Vec<u8>, usize)> {
    let chunk = prop::collection::vec(any::<u8>(), 1..20);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60).prop_map(|content| {
            let mut raw = format!("Content-Length: {}\r\n\r\n", content.len()).into_bytes();
            raw.extend_from_slice(&content);
            (raw, content.len())
        }),
        (prop::collection::vec(chunk, 0..4), any::<bool>()).prop_map(|(chunks, trailer)| {
            let mut raw = b"Transfer-Encoding: chunked\r\n\r\n".to_vec();
            for chunk in &chunks {
                raw.extend_from_slice(format!("{:X};e=1\r\n", chunk.len()).as_bytes());
                raw.extend_from_slice(chunk);
                raw.extend_from_slice(b"\r\n");
            }
            raw.extend_from_slice(if trailer { b"0\r\nT: u\r\n\r\n" } else { b"0\r\n\r\n" });
            (raw, chunks.concat().len())
        }),
    ]
}

fn valid() -> impl Strategy<Value = Valid> {
    (body(), body(), select(&["", "HTTP/1.1 100 Continue\r\n\r\n"][..]), any::<bool>()).prop_map(
        |((asked, request_content), (answered, response_content), early, empty)| {
            let request = [&b"PUT /a HTTP/1.1\r\nHost: b\r\n"[..], &asked].concat();
            if empty {
                let response =
                    format!("{early}HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n").into();
                return Valid { request, response, request_content, response_content: 0 };
            }
            let response = [early.as_bytes(), b"HTTP/1.1 200 OK\r\n", &answered].concat();
            Valid { request, response, request_content, response_content }
        },
    )
}

proptest! {
    #[test]
    fn valid_messages_come_out_as_they_went_in(
        messages in prop::collection::vec(valid(), 1..6), pipelined in any::<bool>(), seed in any::<u64>(),
    ) {
        let mut events = Vec::new();
        for message in &messages {
            events.push(Event::Bytes(Side::Client, message.request.clone()));
            events.push(Event::Bytes(Side::Server, message.response.clone()));
        }
        if pipelined {
            events.sort_by_key(|event| matches!(event, Event::Bytes(Side::Server, _)));
        }
        let record = check(&events, End::Complete, seed);
        prop_assert_eq!(record.exchanges.len(), messages.len());
        for (exchange, message) in record.exchanges.iter().zip(&messages) {
            prop_assert_eq!((exchange.end, &exchange.findings), (End::Complete, &Vec::new()));
            prop_assert_eq!(exchange.request.body_bytes, message.request_content as u64);
            prop_assert_eq!(exchange.response.as_ref().unwrap().body_bytes, message.response_content as u64);
            let one = std::slice::from_ref(exchange);
            prop_assert_eq!(&attack::bytes_of(Side::Client, one).0, &message.request);
            prop_assert_eq!(&attack::bytes_of(Side::Server, one).0, &message.response);
        }
    }

    #[test]
    fn any_bytes_keep_the_laws(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        attack::http1(&bytes);
        attack::sniff(&bytes);
    }
}

const LIMITS: Limits = Limits { head: 4096, body: 4096 };

/// Feeds a decoder that must stay one.
fn feed(http1: &mut Http1, from: Side, bytes: &[u8], now_ns: u64, record: &mut Record) {
    assert_eq!(http1.bytes(from, bytes, now_ns, record), Next::Continue);
}

#[test]
fn an_idle_connection_holds_no_memory() {
    let mut record = Record::new(usize::MAX);
    let mut http1 = Http1::new(LIMITS);
    for turn in 0..3 {
        for _ in 0..100 {
            for byte in b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab" {
                feed(&mut http1, Side::Client, &[*byte], turn, &mut record);
            }
        }
        assert!(record.reserved > 0);
        for _ in 0..100 {
            feed(
                &mut http1,
                Side::Server,
                b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
                turn,
                &mut record,
            );
        }
        assert_eq!(record.reserved, 0);
        assert_eq!(format!("{http1:?}").matches("partial: []").count(), 2);
    }
    assert_eq!(record.exchanges.len(), 300);
}

#[test]
fn times_are_those_of_the_calls_that_brought_the_bytes() {
    let mut record = Record::new(usize::MAX);
    let mut http1 = Http1::new(LIMITS);
    feed(&mut http1, Side::Client, b"\r\n", 5, &mut record);
    feed(&mut http1, Side::Client, b"POST / HT", 10, &mut record);
    feed(&mut http1, Side::Client, b"TP/1.1\r\nContent-Length: 4\r\n\r\n", 20, &mut record);
    feed(&mut http1, Side::Client, b"ab", 30, &mut record);
    feed(&mut http1, Side::Server, b"HTTP/1.1 100 Continue\r\n\r\n", 35, &mut record);
    feed(&mut http1, Side::Client, b"cdGET /next", 40, &mut record);
    feed(&mut http1, Side::Server, b"HTT", 50, &mut record);
    feed(&mut http1, Side::Server, b"P/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", 60, &mut record);
    feed(&mut http1, Side::Server, b"a", 70, &mut record);
    http1.finish(End::Cut, 80, &mut record);
    let [first, second] = record.exchanges.as_slice() else { panic!("{record:?}") };
    assert_eq!((first.request.first_byte_ns, first.request.last_byte_ns), (10, 40));
    let response = first.response.as_ref().unwrap();
    assert_eq!((response.first_byte_ns, response.last_byte_ns), (50, 70));
    assert_eq!((second.request.first_byte_ns, second.request.last_byte_ns), (40, 40));
    assert_eq!(second.end, End::Cut);
}

#[test]
fn held_bytes_keep_their_times_when_they_turn_out_to_be_a_request() {
    let mut record = Record::new(usize::MAX);
    let mut http1 = Http1::new(LIMITS);
    feed(&mut http1, Side::Client, b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n", 10, &mut record);
    feed(&mut http1, Side::Client, b"GET /2 ", 20, &mut record);
    feed(&mut http1, Side::Client, b"HTTP/1.1\r\n\r\n", 30, &mut record);
    assert_eq!(record.requests.len(), 1);
    feed(&mut http1, Side::Server, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 40, &mut record);
    assert_eq!(record.requests.len(), 2);
    http1.finish(End::AbortedByServer, 50, &mut record);
    assert_eq!(
        (record.exchanges[1].request.first_byte_ns, record.exchanges[1].request.last_byte_ns),
        (20, 30)
    );
}

#[test]
fn a_client_that_does_not_wait_for_an_upgrade_is_followed_no_further() {
    let ask = Event::Bytes(Side::Client, b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n".to_vec());
    let flood = Event::Bytes(Side::Client, vec![b'x'; 70_000]);
    let refuse = Event::Bytes(Side::Server, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na".to_vec());
    let accept = Event::Bytes(Side::Server, b"HTTP/1.1 101 \r\nUpgrade: websocket\r\n\r\nab".to_vec());
    let record = check(&[ask.clone(), flood.clone(), refuse], End::Complete, 1);
    assert_eq!(record.exchanges[0].end, End::Complete);
    assert_eq!(record.exchanges[1].findings, [Finding::UpgradeOverflow]);
    assert_eq!(record.exchanges[1].request.wire_bytes, 70_000);
    let record = check(&[ask, flood, accept], End::Complete, 1);
    assert_eq!((record.exchanges[1].protocol, record.exchanges[1].findings.len()), (Protocol::WebSocket, 0));
    assert_eq!(record.exchanges[1].request.wire_bytes, 70_000);
    assert_eq!(record.exchanges[1].response.as_ref().unwrap().wire_bytes, 2);
}

#[test]
fn a_huge_head_and_huge_bodies_are_followed_and_only_their_starts_are_kept() {
    // A head and two bodies of 4096 each, and what an exchange takes beside them.
    let mut record = Record::new(3 * 4096 + 2048);
    let mut http1 = Http1::new(LIMITS);
    let large = vec![b'x'; 1 << 20];
    feed(&mut http1, Side::Client, b"POST /huge HTTP/1.1\r\n", 1, &mut record);
    let line = [b"X-Filler: ".as_slice(), &[b'x'; 1012], b"\r\n"].concat();
    for _ in 0..10 * 1024 {
        feed(&mut http1, Side::Client, &line, 2, &mut record);
    }
    feed(&mut http1, Side::Client, b"Content-Length: 10485760\r\n\r\n", 3, &mut record);
    feed(&mut http1, Side::Server, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 4, &mut record);
    for _ in 0..10 {
        feed(&mut http1, Side::Client, &large, 5, &mut record);
        feed(&mut http1, Side::Server, b"100000\r\n", 6, &mut record);
        feed(&mut http1, Side::Server, &large, 6, &mut record);
        feed(&mut http1, Side::Server, b"\r\n", 6, &mut record);
    }
    feed(&mut http1, Side::Server, b"0\r\n\r\n", 7, &mut record);
    let [exchange] = record.exchanges.as_slice() else { panic!("{record:?}") };
    let (request, response) = (&exchange.request, exchange.response.as_ref().unwrap());
    assert_eq!((request.head.len(), request.head_bytes), (4096, 10 * 1024 * 1024 + 21 + 28));
    assert_eq!((request.body.len(), request.body_bytes), (4096, 10 << 20));
    assert_eq!((response.body.len(), response.body_bytes), (4096, 10 << 20));
    assert_eq!(response.wire_bytes, (10 << 20) + 10 * 10 + 3);
    assert_eq!((exchange.end, record.requests[0].1.as_slice()), (End::Complete, &b"/huge"[..]));
}

#[test]
fn a_line_too_long_to_look_at_matters_only_when_it_tells_the_length() {
    let seen = |fields: &str| {
        let filler = "x".repeat(70_000);
        let head = format!("POST / HTTP/1.1\r\n{}\r\n\r\na", fields.replace('…', &filler));
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
        let events = [Event::Bytes(Side::Client, head.into()), Event::Bytes(Side::Server, response)];
        let record = check(&events, End::Complete, 7);
        let pieces = attack::cut(&events, 5000, 7);
        assert_eq!(attack::play(&pieces, End::Complete, LIMITS, 300_000).reserved, 0);
        let one = |exchange: &Exchange| (exchange.request.wire_bytes, exchange.findings.clone());
        record.exchanges.iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(seen("Cookie: …\r\nContent-Length: 1"), [(1, vec![])]);
    assert_eq!(seen("Content-Length: 1\r\nCookie: …\r\n 2"), [(1, vec![Finding::FoldedField])]);
    assert_eq!(seen("Content-Length: 1\r\n…"), [(1, vec![Finding::BadField])]);
    let (coding, length) = (Finding::BadTransferEncoding, Finding::BadLength);
    let both = vec![Finding::AmbiguousLength, coding];
    assert_eq!(seen("Content-Length: 1\r\nTransfer-Encoding: …"), [(0, both), (1, vec![coding])]);
    assert_eq!(seen("content-length : …"), [(0, vec![length]), (1, vec![length])]);
    let folded = vec![coding, Finding::FoldedField];
    assert_eq!(seen("Transfer-Encoding: chunked\r\n …"), [(0, folded), (1, vec![coding])]);
}

#[test]
fn requests_beyond_what_memory_can_follow_end_the_decoding() {
    let mut record = Record::new(3000);
    let mut http1 = Http1::new(LIMITS);
    for _ in 0..100_000 {
        feed(&mut http1, Side::Client, b"GET / HTTP/1.1\r\n\r\n", 1, &mut record);
    }
    http1.finish(End::AbortedByClient, 2, &mut record);
    let stream = record.exchanges.last().unwrap();
    assert_eq!((stream.protocol, &stream.findings[..]), (Protocol::Tcp, &[Finding::PipelineOverflow][..]));
    assert_eq!(stream.index * 18 + stream.request.wire_bytes, 100_000 * 18);
    assert_eq!((record.reserved, (record.exchanges.len() + record.lost.len()) as u64), (0, stream.index + 1));
}
