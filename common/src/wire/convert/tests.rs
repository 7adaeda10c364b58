//! Reading exchanges, compared with prost.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use prost::Message as _;

use super::Malformed;
use super::wire::{CaptureRequest, Exchange, Framing, Message};
use crate::{attack, exchange};

/// Longer than any head or body that is made here.
const LONG: u64 = 100;

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..3_u64, 120..140_u64, any::<u64>(), Just(u64::MAX)]
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn address() -> impl Strategy<Value = String> {
    prop_oneof![Just("10.0.0.1:5000"), Just("[::1]:80"), Just("[fe80::1%2]:80"), Just("0.0.0.0:0")]
        .prop_map(str::to_owned)
}

/// A few of the fields of a message.
fn message() -> impl Strategy<Value = Message> {
    (0..9_u8, number(), bytes(), 1..5_i32).prop_map(|(which, number, bytes, framing)| {
        let mut message = Message::default();
        match which {
            0 => message.first_byte_ns = number,
            1 => message.last_byte_ns = number,
            2 => message.head = bytes,
            3 => message.head_bytes = number.max(LONG),
            4 => message.framing = framing,
            5 => message.body = bytes,
            6 => message.body_bytes = number,
            7 => message.wire_bytes = number.max(LONG),
            _ => message.trailers = bytes,
        }
        message
    })
}

/// A part of an exchange, as it may follow another part of it.
fn part() -> impl Strategy<Value = Vec<u8>> {
    let told = (0..11_u8, number(), bytes(), address(), message(), prop::collection::vec(1..20_u32, 1..4));
    let told = told.prop_map(|(which, number, bytes, address, message, findings)| {
        let mut told = Exchange::default();
        match which {
            0 => told.connection = number,
            1 => told.index = number,
            2 => told.connected_at_ns = number,
            3 => told.downstream = address,
            4 => told.upstream = address,
            5 => told.protocol = 1 + i32::try_from(number % 5).unwrap(),
            6 => told.end = 1 + i32::try_from(number % 4).unwrap(),
            7 => told.request = Some(message),
            8 => told.response = Some(Message { framing: Framing::Length.into(), ..message }),
            9 => told.informational = vec![bytes.clone(), bytes],
            _ => told.findings = findings,
        }
        told.encode_to_vec()
    });
    // A finding that is not packed, a number that is longer than it need be, and fields that nobody knows.
    let odd: Vec<&[u8]> = vec![
        &[11 << 3, 4],
        &[1 << 3, 0x85, 0x80, 0x00],
        &[0xa0, 0x06, 7],
        &[0xa2, 0x06, 2, 1, 2],
        &[0xa5, 0x06, 1, 2, 3, 4],
        &[0xa1, 0x06, 1, 2, 3, 4, 5, 6, 7, 8],
    ];
    prop_oneof![9 => told, 1 => prop::sample::select(odd).prop_map(<[u8]>::to_vec)]
}

/// The least that makes sense.
fn least() -> Exchange {
    let request =
        Message { framing: Framing::None.into(), head_bytes: LONG, wire_bytes: LONG, ..Message::default() };
    Exchange {
        downstream: "10.0.0.1:5000".to_owned(),
        protocol: exchange::Protocol::Tcp as i32,
        end: exchange::End::Cut as i32,
        response: Some(request.clone()),
        request: Some(request),
        ..Exchange::default()
    }
}

fn batch(exchanges: &[&[u8]]) -> CaptureRequest {
    let mut all = BytesMut::new();
    for exchange in exchanges {
        prost::encode_length_delimiter(exchange.len(), &mut all).unwrap();
        all.extend_from_slice(exchange);
    }
    CaptureRequest {
        first_sequence: 7,
        count: u32::try_from(exchanges.len()).unwrap(),
        exchanges: all.freeze(),
        ..CaptureRequest::default()
    }
}

proptest! {
    #[test]
    fn an_exchange_in_parts_is_read_as_prost_reads_it(parts in prop::collection::vec(part(), 0..8)) {
        let exchange = least().encode_to_vec().into_iter().chain(parts.concat()).collect::<Vec<_>>();
        prop_assert!(batch(&[&exchange]).decode_exchanges().is_ok());
        attack::wire_exchange(&exchange);
    }

    #[test]
    fn a_damaged_exchange_is_never_read_as_something_else(
        parts in prop::collection::vec(part(), 0..4),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut exchange = least().encode_to_vec().into_iter().chain(parts.concat()).collect::<Vec<_>>();
        for (place, byte) in damage {
            *place.get_mut(&mut exchange) = byte;
        }
        attack::wire_exchange(&exchange);
        attack::wire_exchange(&exchange[..cut.index(exchange.len())]);
    }
}

#[test]
fn numbers_have_ten_bytes_and_64_bits_at_most() {
    let with = |number: &[u8]| {
        let exchange = [least().encode_to_vec().as_slice(), &[1 << 3], number].concat();
        batch(&[&exchange]).decode_exchanges().ok().map(|exchanges| exchanges[0].1.number)
    };
    let [full, over, long, cut] = [(9, 0x01), (9, 0x02), (10, 0x00), (9, 0xff)].map(|(more, last)| {
        let mut number = vec![0xff; more];
        number.push(last);
        with(&number)
    });
    assert_eq!([full, over, long, cut], [Some(u64::MAX), None, None, None]);
}

#[test]
fn exchanges_are_found_again_where_they_were_seen() {
    let exchanges: Vec<_> = (1..=3)
        .map(|number| {
            let mut told = least();
            told.connection = number;
            told.request.as_mut().unwrap().first_byte_ns = 100 + number;
            told.encode_to_vec()
        })
        .collect();
    let batch = batch(&exchanges.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let places = batch.places().unwrap();
    assert_eq!(places.iter().map(|place| place.first_byte_ns).collect::<Vec<_>>(), [101, 102, 103]);
    let found = places.iter().rev().map(|place| batch.exchange_at(*place).unwrap().0.number);
    assert_eq!(found.collect::<Vec<_>>(), [3, 2, 1]);
    let sequences = batch.decode_exchanges().unwrap().into_iter().map(|(sequence, ..)| sequence);
    assert_eq!(sequences.collect::<Vec<_>>(), [7, 8, 9]);
}

#[test]
fn a_batch_that_says_something_impossible_is_refused() {
    let exchange = least().encode_to_vec();
    let good = batch(&[&exchange]);
    let told = |change: fn(&mut CaptureRequest)| {
        let mut batch = good.clone();
        change(&mut batch);
        batch.places().map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(told(|_| {}), Ok(()));
    let miscounted = |told: u32| Err(Malformed::Count { told, found: 1 }.to_string());
    assert_eq!(told(|batch| batch.count = 2), miscounted(2));
    assert_eq!(told(|batch| batch.count = 0), miscounted(0));
    assert_eq!(told(|batch| batch.first_sequence = 0), miscounted(1));
    assert_eq!(told(|batch| batch.first_sequence = u64::MAX), miscounted(1));

    let field = |change: fn(&mut Exchange)| {
        let mut told = least();
        change(&mut told);
        match batch(&[&told.encode_to_vec()]).places() {
            Err(Malformed::Field(field)) => field,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(field(|told| told.request = None), "request");
    assert_eq!(field(|told| told.protocol = 77), "protocol");
    assert_eq!(field(|told| told.end = 0), "end");
    assert_eq!(field(|told| told.findings = vec![77]), "findings");
    assert_eq!(field(|told| told.downstream = String::new()), "downstream");
    assert_eq!(field(|told| told.upstream = "nowhere".to_owned()), "upstream");
    assert_eq!(field(|told| told.request.as_mut().unwrap().framing = 0), "framing");
    let short = |told: &mut Exchange| {
        let request = told.request.as_mut().unwrap();
        (request.head_bytes, request.head) = (1, Bytes::from_static(b"ab"));
    };
    assert_eq!(field(short), "head_bytes or wire_bytes");
}
