//! Pure. The only way between generated messages and domain types.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use prost::Message as _;

use super::generated as wire;
use crate::exchange::{Connection, End, Exchange, Finding, Framing, Message, Protocol};

/// No exchange with an address and a request is shorter: a batch of few bytes cannot ask for the room
/// of many exchanges.
const MIN_EXCHANGE_BYTES: usize = 16;

/// A message off the wire or off disk that says something impossible.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// A field that must be there is not, or holds no value of its kind.
    #[error("{0} is missing or has no meaning")]
    Field(&'static str),
    /// Not a protobuf message of this type.
    #[error("not a message of this type")]
    Encoding(#[source] prost::DecodeError),
    /// A batch holds more or fewer exchanges than it says.
    #[error("{told} exchanges announced, {found} found")]
    Count {
        /// What `count` says.
        told: u32,
        /// How many there are.
        found: usize,
    },
}

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

impl TryFrom<wire::Exchange> for (Connection, Exchange) {
    type Error = Malformed;

    fn try_from(told: wire::Exchange) -> Result<Self, Malformed> {
        let upstream = match told.upstream.as_str() {
            "" => None,
            address => Some(parse_address(address, "upstream")?),
        };
        let connection = Connection {
            number: told.connection,
            accepted_at_ns: told.connected_at_ns,
            downstream: parse_address(&told.downstream, "downstream")?,
            upstream,
        };
        let exchange = Exchange {
            index: told.index,
            protocol: closed(told.protocol, Protocol::from_number, "protocol")?,
            request: told.request.ok_or(Malformed::Field("request"))?.try_into()?,
            response: told.response.map(TryInto::try_into).transpose()?,
            informational: told.informational,
            end: closed(told.end, End::from_number, "end")?,
            findings: told
                .findings
                .into_iter()
                .map(|number| Finding::from_number(number).ok_or(Malformed::Field("findings")))
                .collect::<Result<_, _>>()?,
        };
        Ok((connection, exchange))
    }
}

fn parse_address(text: &str, field: &'static str) -> Result<SocketAddr, Malformed> {
    text.parse().map_err(|_| Malformed::Field(field))
}

fn closed<T>(number: i32, from: fn(u32) -> Option<T>, field: &'static str) -> Result<T, Malformed> {
    u32::try_from(number).ok().and_then(from).ok_or(Malformed::Field(field))
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

impl TryFrom<wire::Message> for Message {
    type Error = Malformed;

    fn try_from(told: wire::Message) -> Result<Self, Malformed> {
        let framing = match told.framing() {
            wire::Framing::Unspecified => return Err(Malformed::Field("framing")),
            wire::Framing::None => Framing::None,
            wire::Framing::Length => Framing::Length,
            wire::Framing::Chunked => Framing::Chunked,
            wire::Framing::Close => Framing::Close,
        };
        if told.head.len() as u64 > told.head_bytes || told.body.len() as u64 > told.wire_bytes {
            return Err(Malformed::Field("head_bytes or wire_bytes"));
        }
        Ok(Self {
            first_byte_ns: told.first_byte_ns,
            last_byte_ns: told.last_byte_ns,
            head: told.head,
            head_bytes: told.head_bytes,
            framing,
            body: told.body,
            body_bytes: told.body_bytes,
            wire_bytes: told.wire_bytes,
            trailers: told.trailers,
        })
    }
}

impl wire::CaptureRequest {
    /// The exchanges of this batch, each with its sequence.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are not `count` exchanges, or when one of them makes no sense.
    pub fn decode_exchanges(&self) -> Result<Vec<(u64, Connection, Exchange)>, Malformed> {
        let mut exchanges =
            Vec::with_capacity((self.count as usize).min(self.exchanges.len() / MIN_EXCHANGE_BYTES));
        self.each_exchange(|sequence, connection, exchange| {
            exchanges.push((sequence, connection, exchange));
        })?;
        Ok(exchanges)
    }

    /// Shows the exchanges of this batch, each with its sequence, one after the other.
    ///
    /// # Errors
    /// As [`Self::decode_exchanges`]; some may have been shown by then.
    pub fn each_exchange(&self, mut show: impl FnMut(u64, Connection, Exchange)) -> Result<(), Malformed> {
        let mut rest: Bytes = self.exchanges.clone();
        let mut found = 0_u32;
        let miscounted = |found: u32| Malformed::Count { told: self.count, found: found as usize };
        while !rest.is_empty() {
            let told = wire::Exchange::decode_length_delimited(&mut rest).map_err(Malformed::Encoding)?;
            let (connection, exchange) = told.try_into()?;
            let sequence = self.first_sequence.checked_add(found.into()).ok_or(miscounted(found))?;
            found = found.checked_add(1).ok_or(miscounted(found))?;
            show(sequence, connection, exchange);
        }
        if found != self.count || self.first_sequence == 0 {
            return Err(miscounted(found));
        }
        Ok(())
    }
}
