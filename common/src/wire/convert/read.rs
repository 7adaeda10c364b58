//! Pure. Exchanges off the wire or off disk, read where they lie: nothing of them is copied.
//!
//! The forwarder reads each exchange twice, and most of what it then does is to look at a few bytes of it; messages
//! that own what they hold would be most of that work. What is read here means the same to prost.

use bytes::Bytes;

use super::wire;
use crate::exchange::{Connection, End, Exchange, Finding, Framing, Message, Protocol};

/// A message off the wire or off disk that says something impossible.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// A field that must be there is not, or holds no value of its kind.
    #[error("{0} is missing or has no meaning")]
    Field(&'static str),
    /// Not a protobuf message of this type.
    #[error("not a message of this type")]
    Encoding,
    /// A batch holds more or fewer exchanges than it says.
    #[error("{told} exchanges announced, {found} found")]
    Count {
        /// What `count` says.
        told: u32,
        /// How many there are.
        found: usize,
    },
}

/// Where an exchange begins in a batch, and when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Of the length before it.
    at: u32,
    /// When the first byte of the request was read, in nanoseconds since the Unix epoch; 0 when not one came.
    pub first_byte_ns: u64,
}

impl wire::CaptureRequest {
    /// Reads every exchange of this batch, and tells where they are.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are not `count` exchanges, or when one of them makes no sense.
    pub fn places(&self) -> Result<Vec<Place>, Malformed> {
        let miscounted = |found: usize| Malformed::Count { told: self.count, found };
        let mut places = Vec::new();
        let mut rest: &[u8] = &self.exchanges;
        while !rest.is_empty() {
            let at = u32::try_from(self.exchanges.len() - rest.len()).map_err(|_| Malformed::Encoding)?;
            let (connection, exchange) = read(bytes(&mut rest)?)?;
            parse_addresses(&connection)?;
            places.push(Place { at, first_byte_ns: exchange.request.first_byte_ns });
        }
        let last = self.first_sequence.checked_add(self.count.into());
        if places.len() != self.count as usize || self.first_sequence == 0 || last.is_none() {
            return Err(miscounted(places.len()));
        }
        Ok(places)
    }

    /// The exchange at a place of this batch. Its addresses stand there as they were told; [`Self::places`] saw that
    /// they are addresses.
    ///
    /// # Errors
    /// [`Malformed`] when there is none, which cannot be at what [`Self::places`] told.
    pub fn exchange_at(&self, place: Place) -> Result<(Connection<&str>, Exchange<&[u8]>), Malformed> {
        let mut rest = self.exchanges.get(place.at as usize..).ok_or(Malformed::Encoding)?;
        read(bytes(&mut rest)?)
    }

    /// The exchanges of this batch, each with its sequence.
    ///
    /// # Errors
    /// As [`Self::places`].
    pub fn decode_exchanges(&self) -> Result<Vec<(u64, Connection, Exchange)>, Malformed> {
        let owned = |bytes: &[u8]| self.exchanges.slice_ref(bytes);
        let places = self.places()?;
        let exchanges = (self.first_sequence..).zip(places).map(|(sequence, place)| {
            let (connection, exchange) = self.exchange_at(place)?;
            Ok((sequence, parse_addresses(&connection)?, own(exchange, owned)))
        });
        exchanges.collect()
    }
}

fn own(exchange: Exchange<&[u8]>, owned: impl Fn(&[u8]) -> Bytes) -> Exchange {
    let message = |message: Message<&[u8]>| Message {
        head: owned(message.head),
        body: owned(message.body),
        trailers: owned(message.trailers),
        first_byte_ns: message.first_byte_ns,
        last_byte_ns: message.last_byte_ns,
        head_bytes: message.head_bytes,
        framing: message.framing,
        body_bytes: message.body_bytes,
        wire_bytes: message.wire_bytes,
    };
    Exchange {
        request: message(exchange.request),
        response: exchange.response.map(message),
        informational: exchange.informational.into_iter().map(&owned).collect(),
        index: exchange.index,
        protocol: exchange.protocol,
        end: exchange.end,
        findings: exchange.findings,
    }
}

/// The value of one field.
enum Value<'a> {
    Number(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
    /// Of a kind that no message here has.
    Other,
}

impl<'a> Value<'a> {
    fn number(self) -> Result<u64, Malformed> {
        if let Self::Number(number) = self { Ok(number) } else { Err(Malformed::Encoding) }
    }

    fn small(self) -> Result<u32, Malformed> {
        u32::try_from(self.number()?).map_err(|_| Malformed::Encoding)
    }

    fn fixed(self) -> Result<u64, Malformed> {
        if let Self::Fixed(number) = self { Ok(number) } else { Err(Malformed::Encoding) }
    }

    fn bytes(self) -> Result<&'a [u8], Malformed> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(Malformed::Encoding) }
    }

    fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed::Encoding)
    }
}

/// A number of seven bits a byte, the lowest first.
fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first().ok_or(Malformed::Encoding)?;
        *rest = behind;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            // Of the tenth byte there is room for one bit.
            return if shift == 63 && *byte > 1 { Err(Malformed::Encoding) } else { Ok(number) };
        }
    }
    Err(Malformed::Encoding)
}

/// Bytes behind their length.
fn bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(varint(rest)?).map_err(|_| Malformed::Encoding)?;
    let (bytes, behind) = rest.split_at_checked(length).ok_or(Malformed::Encoding)?;
    *rest = behind;
    Ok(bytes)
}

fn fixed<const LENGTH: usize>(rest: &mut &[u8]) -> Result<[u8; LENGTH], Malformed> {
    let (bytes, behind) = rest.split_first_chunk().ok_or(Malformed::Encoding)?;
    *rest = behind;
    Ok(*bytes)
}

/// Shows each field of a message. A group, which proto3 does not have, is an error.
fn each_field<'a>(
    mut rest: &'a [u8],
    mut show: impl FnMut(u64, Value<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut rest)?),
            1 => Value::Fixed(u64::from_le_bytes(fixed(&mut rest)?)),
            2 => Value::Bytes(bytes(&mut rest)?),
            5 => {
                fixed::<4>(&mut rest)?;
                Value::Other
            }
            _ => return Err(Malformed::Encoding),
        };
        if key < 8 || key > u64::from(u32::MAX) {
            return Err(Malformed::Encoding);
        }
        show(key >> 3, value)?;
    }
    Ok(())
}

/// As it is told; where a field comes twice, the last one counts.
#[derive(Default)]
struct Told<'a> {
    connection: u64,
    index: u64,
    connected_at_ns: u64,
    downstream: &'a str,
    upstream: &'a str,
    protocol: u32,
    end: u32,
    request: Option<ToldMessage<'a>>,
    response: Option<ToldMessage<'a>>,
    informational: Vec<&'a [u8]>,
    findings: Vec<u32>,
}

#[derive(Default)]
struct ToldMessage<'a> {
    message: Message<&'a [u8]>,
    framing: u32,
}

fn read(exchange: &[u8]) -> Result<(Connection<&str>, Exchange<&[u8]>), Malformed> {
    let mut told = Told::default();
    each_field(exchange, |field, value| {
        match field {
            1 => told.connection = value.number()?,
            2 => told.index = value.number()?,
            3 => told.connected_at_ns = value.fixed()?,
            4 => told.downstream = value.text()?,
            5 => told.upstream = value.text()?,
            6 => told.protocol = value.small()?,
            7 => told.end = value.small()?,
            8 => told.request.get_or_insert_default().merge(value.bytes()?)?,
            9 => told.response.get_or_insert_default().merge(value.bytes()?)?,
            10 => told.informational.push(value.bytes()?),
            11 => match value {
                Value::Bytes(mut packed) => {
                    while !packed.is_empty() {
                        told.findings.push(Value::Number(varint(&mut packed)?).small()?);
                    }
                }
                single => told.findings.push(single.small()?),
            },
            _ => {}
        }
        Ok(())
    })?;
    told.understood()
}

impl<'a> ToldMessage<'a> {
    fn merge(&mut self, message: &'a [u8]) -> Result<(), Malformed> {
        let told = &mut self.message;
        each_field(message, |field, value| {
            match field {
                1 => told.first_byte_ns = value.fixed()?,
                2 => told.last_byte_ns = value.fixed()?,
                3 => told.head = value.bytes()?,
                4 => told.head_bytes = value.number()?,
                5 => self.framing = value.small()?,
                6 => told.body = value.bytes()?,
                7 => told.body_bytes = value.number()?,
                8 => told.wire_bytes = value.number()?,
                9 => told.trailers = value.bytes()?,
                _ => {}
            }
            Ok(())
        })
    }

    fn understood(self) -> Result<Message<&'a [u8]>, Malformed> {
        let message = self.message;
        let framing = match wire::Framing::try_from(i32::try_from(self.framing).unwrap_or(0)) {
            Ok(wire::Framing::None) => Framing::None,
            Ok(wire::Framing::Length) => Framing::Length,
            Ok(wire::Framing::Chunked) => Framing::Chunked,
            Ok(wire::Framing::Close) => Framing::Close,
            Ok(wire::Framing::Unspecified) | Err(_) => return Err(Malformed::Field("framing")),
        };
        if message.head.len() as u64 > message.head_bytes || message.body.len() as u64 > message.wire_bytes {
            return Err(Malformed::Field("head_bytes or wire_bytes"));
        }
        Ok(Message { framing, ..message })
    }
}

impl<'a> Told<'a> {
    fn understood(self) -> Result<(Connection<&'a str>, Exchange<&'a [u8]>), Malformed> {
        let connection = Connection {
            number: self.connection,
            accepted_at_ns: self.connected_at_ns,
            downstream: self.downstream,
            upstream: (!self.upstream.is_empty()).then_some(self.upstream),
        };
        let findings =
            self.findings.into_iter().map(|number| closed(Finding::from_number(number), "findings"));
        let exchange = Exchange {
            index: self.index,
            protocol: closed(Protocol::from_number(self.protocol), "protocol")?,
            request: self.request.ok_or(Malformed::Field("request"))?.understood()?,
            response: self.response.map(ToldMessage::understood).transpose()?,
            informational: self.informational,
            end: closed(End::from_number(self.end), "end")?,
            findings: findings.collect::<Result<_, _>>()?,
        };
        Ok((connection, exchange))
    }
}

fn parse_addresses(told: &Connection<&str>) -> Result<Connection, Malformed> {
    let address = |text: &str, field| closed(text.parse().ok(), field);
    Ok(Connection {
        number: told.number,
        accepted_at_ns: told.accepted_at_ns,
        downstream: address(told.downstream, "downstream")?,
        upstream: told.upstream.map(|text| address(text, "upstream")).transpose()?,
    })
}

fn closed<T>(value: Option<T>, field: &'static str) -> Result<T, Malformed> {
    value.ok_or(Malformed::Field(field))
}
