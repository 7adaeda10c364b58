//! Pure. Exchanges as they stand in a batch, written from where they lie: every byte is copied once.
//!
//! To make a message of each and have prost encode that takes more than twice as long, and a proxy does it for every
//! exchange. What is written here is what prost would write.

use prost::Message as _;

use super::wire;
use crate::exchange::{Connection, Exchange, Framing, Message};

/// What every exchange of a connection says of it, encoded once: the fields of a message may come in any order, and so
/// those of an exchange may stand in two parts.
#[derive(Clone, Debug)]
pub struct Opening(Box<[u8]>);

impl From<&Connection> for Opening {
    fn from(connection: &Connection) -> Self {
        let told = wire::Exchange {
            connection: connection.number,
            connected_at_ns: connection.accepted_at_ns,
            downstream: connection.downstream.to_string(),
            upstream: connection.upstream.map(|address| address.to_string()).unwrap_or_default(),
            ..wire::Exchange::default()
        };
        Self(told.encode_to_vec().into())
    }
}

impl Opening {
    /// An exchange of this connection.
    pub fn with<'a>(&'a self, exchange: &'a Exchange) -> Entry<'a> {
        let length = |of: &Message| counted(|sink| message(of, sink));
        let parts = [length(&exchange.request), exchange.response.as_ref().map_or(0, length)];
        let beside = counted(|sink| rest(exchange, parts, sink, |_, _| ()));
        let length = self.0.len() + beside + parts.iter().sum::<usize>();
        Entry { opening: &self.0, exchange, parts, length }
    }
}

/// An exchange as it stands in a batch: behind its length.
#[derive(Debug)]
pub struct Entry<'a> {
    opening: &'a [u8],
    exchange: &'a Exchange,
    /// Bytes of request and response.
    parts: [usize; 2],
    /// Bytes of all of it.
    length: usize,
}

impl Entry<'_> {
    /// Bytes that it takes in a batch.
    pub fn bytes(&self) -> usize {
        prost::length_delimiter_len(self.length) + self.length
    }

    /// Appends it to a batch.
    pub fn append_to(&self, batch: &mut Vec<u8>) {
        batch.reserve(self.bytes());
        batch.varint(self.length as u64);
        batch.bytes(self.opening);
        rest(self.exchange, self.parts, batch, message);
    }
}

/// What an exchange says of itself; `parts` are the bytes of its request and its response, which `message` writes.
fn rest<S: Sink>(exchange: &Exchange, parts: [usize; 2], sink: &mut S, message: impl Fn(&Message, &mut S)) {
    let [request, response] = parts;
    sink.number_field(2, exchange.index);
    sink.number_field(6, exchange.protocol as u64);
    sink.number_field(7, exchange.end as u64);
    sink.start(8, request);
    message(&exchange.request, sink);
    if let Some(told) = &exchange.response {
        sink.start(9, response);
        message(told, sink);
    }
    for head in &exchange.informational {
        sink.start(10, head.len());
        sink.bytes(head);
    }
    if !exchange.findings.is_empty() {
        let findings = || exchange.findings.iter().map(|finding| *finding as u64);
        sink.start(11, counted(|sink| findings().for_each(|finding| sink.varint(finding))));
        findings().for_each(|finding| sink.varint(finding));
    }
}

fn message(message: &Message, sink: &mut impl Sink) {
    sink.fixed_field(1, message.first_byte_ns);
    sink.fixed_field(2, message.last_byte_ns);
    sink.bytes_field(3, &message.head);
    sink.number_field(4, message.head_bytes);
    sink.number_field(5, wire::Framing::from(message.framing) as u64);
    sink.bytes_field(6, &message.body);
    sink.number_field(7, message.body_bytes);
    sink.number_field(8, message.wire_bytes);
    sink.bytes_field(9, &message.trailers);
}

impl From<Framing> for wire::Framing {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::None,
            Framing::Length => Self::Length,
            Framing::Chunked => Self::Chunked,
            Framing::Close => Self::Close,
        }
    }
}

fn counted(write: impl FnOnce(&mut Count)) -> usize {
    let mut count = Count(0);
    write(&mut count);
    count.0
}

/// Where fields go: what has the default value of its type is not written, nor is what is empty.
trait Sink {
    /// Seven bits a byte, the lowest first.
    fn varint(&mut self, number: u64);
    fn bytes(&mut self, bytes: &[u8]);

    fn number_field(&mut self, field: u64, number: u64) {
        if number != 0 {
            self.varint(field << 3);
            self.varint(number);
        }
    }

    fn fixed_field(&mut self, field: u64, number: u64) {
        if number != 0 {
            self.varint(field << 3 | 1);
            self.bytes(&number.to_le_bytes());
        }
    }

    fn bytes_field(&mut self, field: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.start(field, bytes.len());
            self.bytes(bytes);
        }
    }

    /// What stands before so many bytes.
    fn start(&mut self, field: u64, length: usize) {
        self.varint(field << 3 | 2);
        self.varint(length as u64);
    }
}

/// Counts the bytes that a vector would take.
struct Count(usize);

impl Sink for Count {
    fn varint(&mut self, number: u64) {
        let bits = u64::BITS - (number | 1).leading_zeros();
        self.0 += bits.div_ceil(7) as usize;
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

impl Sink for Vec<u8> {
    fn varint(&mut self, number: u64) {
        let mut number = number;
        loop {
            let [low, ..] = number.to_le_bytes();
            if number < 0x80 {
                return self.push(low);
            }
            self.push(low | 0x80);
            number >>= 7;
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
