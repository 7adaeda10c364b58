//! Pure. The only way between generated messages and domain types: written here, read in `read`.

mod read;
#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};
use prost::Message as _;

pub use self::read::{Malformed, Place};
use super::generated as wire;
use crate::exchange::{Connection, Exchange, Framing, Message};

/// What an exchange says of its connection.
impl From<&Connection> for wire::Exchange {
    fn from(connection: &Connection) -> Self {
        Self {
            connection: connection.number,
            connected_at_ns: connection.accepted_at_ns,
            downstream: connection.downstream.to_string(),
            upstream: connection.upstream.map(|address| address.to_string()).unwrap_or_default(),
            ..Self::default()
        }
    }
}

/// What an exchange says of itself.
impl From<Exchange> for wire::Exchange {
    fn from(exchange: Exchange) -> Self {
        Self {
            index: exchange.index,
            protocol: exchange.protocol as i32,
            end: exchange.end as i32,
            request: Some(exchange.request.into()),
            response: exchange.response.map(Into::into),
            informational: exchange.informational,
            findings: exchange.findings.into_iter().map(|finding| finding as u32).collect(),
            ..Self::default()
        }
    }
}

/// What every exchange of a connection says of it, encoded once: the fields of a message may come in any order, and so
/// those of an exchange may stand in two parts.
#[derive(Clone, Debug)]
pub struct Opening(Bytes);

impl From<&Connection> for Opening {
    fn from(connection: &Connection) -> Self {
        Self(wire::Exchange::from(connection).encode_to_vec().into())
    }
}

impl Opening {
    /// An exchange of this connection.
    pub fn with(&self, exchange: Exchange) -> Entry<'_> {
        let rest = wire::Exchange::from(exchange);
        Entry { opening: &self.0, length: self.0.len() + rest.encoded_len(), rest }
    }
}

/// An exchange as it stands in a batch: behind its length.
#[derive(Debug)]
pub struct Entry<'a> {
    opening: &'a [u8],
    rest: wire::Exchange,
    /// Of both.
    length: usize,
}

impl Entry<'_> {
    /// Bytes that it takes in a batch.
    pub fn bytes(&self) -> usize {
        prost::length_delimiter_len(self.length) + self.length
    }

    /// Appends it to a batch.
    pub fn append_to(&self, batch: &mut BytesMut) {
        // A BytesMut grows as needed: it is never too short for a message.
        prost::encode_length_delimiter(self.length, batch).unwrap_or_default();
        batch.extend_from_slice(self.opening);
        self.rest.encode_raw(batch);
    }
}

impl From<Message> for wire::Message {
    fn from(message: Message) -> Self {
        let framing = match message.framing {
            Framing::None => wire::Framing::None,
            Framing::Length => wire::Framing::Length,
            Framing::Chunked => wire::Framing::Chunked,
            Framing::Close => wire::Framing::Close,
        };
        Self {
            first_byte_ns: message.first_byte_ns,
            last_byte_ns: message.last_byte_ns,
            head: message.head,
            head_bytes: message.head_bytes,
            framing: framing.into(),
            body: message.body,
            body_bytes: message.body_bytes,
            wire_bytes: message.wire_bytes,
            trailers: message.trailers,
        }
    }
}
