//! What must hold for any bytes, however they are cut up.

use common::exchange::{End, Exchange, Message, Protocol};

use super::{Event, Record, cut, play};
use crate::decode::{Limits, Side};

const PLENTY: Limits = Limits { head: 1 << 20, body: 1 << 20 };
const SCARCE: Limits = Limits { head: 32, body: 16 };

/// Plays a conversation in several ways and panics when a law is broken; returns what was seen.
pub fn check(events: &[Event], end: End, seed: u64) -> Record {
    let whole = play(events, end, PLENTY, usize::MAX);
    balanced(&whole);
    conserved(events, &whole);
    for longest in [1, 3, 16] {
        let pieces = cut(events, longest, seed);
        let again = play(&pieces, end, PLENTY, usize::MAX);
        balanced(&again);
        same(&whole, &again);
        let scarce = play(&pieces, end, SCARCE, usize::MAX);
        balanced(&scarce);
        limited(&whole, &scarce);
        for budget in [0, 700, 2000, 5000] {
            let poor = play(&pieces, end, PLENTY, budget);
            balanced(&poor);
            assert!(poor.most_reserved <= budget);
        }
    }
    whole
}

/// Nothing stays reserved, and every exchange is told of once.
fn balanced(record: &Record) {
    assert_eq!(record.reserved, 0, "still reserved");
    let mut indexes: Vec<u64> = record.exchanges.iter().map(|exchange| exchange.index).collect();
    indexes.extend(record.lost.iter().map(|(index, _)| index));
    indexes.sort_unstable();
    let count = indexes.len() as u64;
    assert!(indexes.into_iter().eq(0..count), "{record:?}");
    assert!(record.exchanges.is_sorted_by_key(|exchange| exchange.index), "{record:?}");
    let mut responses = record.responses.iter();
    for exchange in record.exchanges.iter().filter(|exchange| exchange.protocol == Protocol::Http1) {
        if exchange.end == End::Complete {
            let told = responses.find(|(index, _)| *index == exchange.index).map(|(_, bytes)| *bytes);
            assert_eq!(told, exchange.response.as_ref().map(|response| response.body_bytes), "{record:?}");
        }
    }
}

/// What one side sent, as its exchanges tell it: the bytes, then how many that were not kept.
pub fn bytes_of(side: Side, exchanges: &[Exchange]) -> (Vec<u8>, u64) {
    let mut bytes = Vec::new();
    let mut counted = 0;
    let mut add = |message: &Message| {
        bytes.extend_from_slice(&message.head);
        bytes.extend_from_slice(&message.body);
        bytes.extend_from_slice(&message.trailers);
        let kept = message.head.len() as u64 + message.body.len() as u64;
        counted += message.head_bytes + message.wire_bytes - kept;
    };
    for exchange in exchanges {
        match side {
            Side::Client => add(&exchange.request),
            Side::Server => {
                for head in &exchange.informational {
                    add(&Message { head: head.clone(), head_bytes: head.len() as u64, ..Message::default() });
                }
                exchange.response.as_ref().into_iter().for_each(&mut add);
            }
        }
    }
    (bytes, counted)
}

/// Every byte of both sides is in one exchange, but for empty lines that nothing followed.
fn conserved(events: &[Event], record: &Record) {
    for side in [Side::Client, Side::Server] {
        let mut sent = Vec::new();
        for event in events {
            match event {
                Event::Bytes(from, bytes) if *from == side => sent.extend_from_slice(bytes),
                _ => {}
            }
        }
        let (kept, counted) = bytes_of(side, &record.exchanges);
        let rest = sent.strip_prefix(kept.as_slice());
        let Some(rest) = rest else {
            assert_eq!(
                kept.escape_ascii().to_string(),
                sent.escape_ascii().to_string(),
                "{side:?} {:#?}",
                record.exchanges
            );
            return;
        };
        let told = rest.len() as u64 == counted;
        let blank = counted == 0 && rest.len() <= 32 && rest.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        assert!(told || blank, "{side:?}: {} left, {counted} told {:#?}", rest.len(), record.exchanges);
    }
}

/// Times apart, a cut changes nothing.
fn same(whole: &Record, again: &Record) {
    assert_eq!(timeless(&whole.exchanges), timeless(&again.exchanges));
    assert_eq!(whole.protocol, again.protocol);
    assert_eq!(whole.responses, again.responses);
    assert_eq!(whole.requests, again.requests);
}

/// With less kept, what is counted and what is found stays the same.
fn limited(whole: &Record, scarce: &Record) {
    assert_eq!(whole.exchanges.len(), scarce.exchanges.len());
    for (whole, scarce) in whole.exchanges.iter().zip(&scarce.exchanges) {
        assert_eq!((whole.end, &whole.findings), (scarce.end, &scarce.findings));
        limited_message(&whole.request, &scarce.request);
        assert_eq!(whole.response.is_some(), scarce.response.is_some());
        if let (Some(whole), Some(scarce)) = (&whole.response, &scarce.response) {
            limited_message(whole, scarce);
        }
        let informational: usize = scarce.informational.iter().map(bytes::Bytes::len).sum();
        assert!(informational <= SCARCE.head);
    }
}

fn limited_message(whole: &Message, scarce: &Message) {
    let start = |bytes: &[u8], limit: usize| bytes.get(..limit).unwrap_or(bytes).to_vec();
    assert_eq!(start(&whole.head, SCARCE.head), scarce.head);
    assert_eq!(start(&whole.body, SCARCE.body), scarce.body);
    assert_eq!(start(&whole.trailers, SCARCE.head), scarce.trailers);
    assert_eq!(
        (whole.head_bytes, whole.framing, whole.body_bytes, whole.wire_bytes),
        (scarce.head_bytes, scarce.framing, scarce.body_bytes, scarce.wire_bytes)
    );
    for message in [whole, scarce] {
        assert!(message.first_byte_ns <= message.last_byte_ns);
    }
}

fn timeless(exchanges: &[Exchange]) -> Vec<Exchange> {
    let mut exchanges = exchanges.to_vec();
    for exchange in &mut exchanges {
        for message in std::iter::once(&mut exchange.request).chain(&mut exchange.response) {
            message.first_byte_ns = 0;
            message.last_byte_ns = 0;
        }
        // Only decoded messages keep bytes.
        assert!(exchange.protocol == Protocol::Http1 || exchange.request.head.is_empty());
    }
    exchanges
}
