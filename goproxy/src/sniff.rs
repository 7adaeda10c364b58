//! Pure. Tells the protocol of a connection from its first bytes.

use common::exchange::Protocol;

use crate::decode::{Side, Span};

/// No more than this is remembered of a connection that is not yet told.
const MAX_PREFIX_BYTES: usize = 40;

/// The longest method that is taken for one of HTTP.
const MAX_METHOD_BYTES: usize = 32;

/// How an HTTP/2 connection with prior knowledge begins (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads the first bytes of a connection until its protocol is told.
#[derive(Debug)]
pub struct Sniffer {
    prefix: [u8; MAX_PREFIX_BYTES],
    seen: Span,
}

impl Default for Sniffer {
    fn default() -> Self {
        Self { prefix: [0; MAX_PREFIX_BYTES], seen: Span::default() }
    }
}

impl Sniffer {
    /// Looks at some more bytes; tells the protocol as soon as it can be told. Until then the bytes
    /// are remembered; those that tell it are not, nor any behind them.
    pub fn bytes(&mut self, from: Side, bytes: &[u8], at_ns: u64) -> Option<Protocol> {
        if bytes.is_empty() {
            return None;
        }
        if from == Side::Server {
            return Some(Protocol::Tcp);
        }
        let start = self.prefix().len();
        let Some(room) = self.prefix.get_mut(start..) else {
            return Some(Protocol::Tcp);
        };
        for (place, &byte) in room.iter_mut().zip(bytes) {
            *place = byte;
        }
        let known = (start + bytes.len()).min(MAX_PREFIX_BYTES);
        let told = tell(self.prefix.get(..known).unwrap_or_default());
        if told.is_none() && known == MAX_PREFIX_BYTES {
            return Some(Protocol::Tcp);
        }
        if told.is_none() {
            self.seen.add(bytes.len(), at_ns);
        }
        told
    }

    /// What is remembered of the client's bytes.
    pub fn prefix(&self) -> &[u8] {
        usize::try_from(self.seen.bytes).ok().and_then(|seen| self.prefix.get(..seen)).unwrap_or_default()
    }

    /// How many bytes are remembered, and when they were read.
    pub fn seen(&self) -> Span {
        self.seen
    }
}

/// The protocol of a connection whose client begins with these bytes; `None` when more must come.
fn tell(bytes: &[u8]) -> Option<Protocol> {
    match bytes {
        [] | [0x16] => return None,
        // A TLS record with a handshake message, whatever the version (RFC 8446 §5.1).
        [0x16, 0x03, ..] => return Some(Protocol::Tls),
        _ => {}
    }
    if bytes.starts_with(PREFACE) {
        return Some(Protocol::Http2);
    }
    if PREFACE.starts_with(bytes) {
        return None;
    }
    let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let line = bytes.get(blank..).unwrap_or_default();
    for (at, &byte) in line.iter().enumerate() {
        match byte {
            b' ' if at > 0 => return Some(Protocol::Http1),
            b'A'..=b'Z' if at < MAX_METHOD_BYTES => {}
            b'0'..=b'9' | b'_' | b'-' if at > 0 && at < MAX_METHOD_BYTES => {}
            _ => return Some(Protocol::Tcp),
        }
    }
    None
}

#[cfg(test)]
mod tests;
