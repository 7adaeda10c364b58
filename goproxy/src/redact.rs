//! Pure. Overwrites secrets in an exchange before it leaves the process.
//!
//! Each is replaced in place by a keyed token of its own length, so that every length that the exchange
//! tells, its chunk lines and its `Content-Length` stay true. Equal secrets have equal tokens under one
//! key; without the key a token says nothing of its secret but the length.

pub mod body;
pub mod head;
pub mod json;
pub mod mask;
pub mod multipart;
pub mod names;
pub mod pairs;
pub mod patterns;
#[cfg(test)]
mod tests;
pub mod xml;

use bytes::{Bytes, BytesMut};
use common::exchange::{Exchange, Finding, Message};

pub use self::mask::{Category, Key, Spot};
use self::names::Names;

/// Bytes of body up to which an exchange is redacted at once, on the thread that relays.
const QUICK_BYTES: usize = 16 << 10;

/// What is a secret, and the key of its tokens.
#[derive(Debug)]
pub struct Redactor {
    /// The key of the tokens.
    pub key: Key,
    /// Header fields whose values are secrets.
    pub headers: Names,
    /// Names in queries, forms, JSON and XML whose values are secrets.
    pub fields: Names,
    /// Whether a body that cannot be looked into is left as it is.
    pub keep_unreadable: bool,
}

impl Redactor {
    /// Overwrites the secrets of an exchange, and says whether there were any.
    pub fn redact(&self, exchange: &mut Exchange) -> bool {
        let mut found = self.message(&mut exchange.request);
        if let Some(response) = &mut exchange.response {
            found |= self.message(response);
        }
        for head in &mut exchange.informational {
            found |= self.overwrite(head, |bytes, spots| {
                head::find(bytes, self, spots);
            });
        }
        if found && !exchange.findings.contains(&Finding::Redacted) {
            exchange.findings.push(Finding::Redacted);
        }
        found
    }

    /// Whether that takes no longer than decoding did.
    pub fn is_quick(exchange: &Exchange) -> bool {
        let bytes = |message: &Message| message.body.len();
        bytes(&exchange.request) + exchange.response.as_ref().map_or(0, bytes) <= QUICK_BYTES
    }

    /// A request target as it may be logged.
    pub fn target(&self, target: &[u8]) -> Vec<u8> {
        let mut shown = target.to_vec();
        let mut spots = Vec::new();
        head::find_in_value(target, 0, self, &mut spots);
        mask::apply(&mut shown, &spots, &self.key);
        shown
    }

    fn message(&self, message: &mut Message) -> bool {
        let mut kind = body::Kind::default();
        let mut found =
            self.overwrite(&mut message.head, |bytes, spots| kind = head::find(bytes, self, spots));
        found |= self.overwrite(&mut message.trailers, |bytes, spots| {
            head::find(bytes, self, spots);
        });
        let framing = message.framing;
        found |= self.overwrite(&mut message.body, |bytes, spots| {
            body::find(bytes, framing, kind, self, spots);
        });
        found
    }

    /// Copies only when there is something to overwrite.
    fn overwrite(&self, bytes: &mut Bytes, find: impl FnOnce(&[u8], &mut Vec<Spot>)) -> bool {
        let mut spots = Vec::new();
        find(bytes, &mut spots);
        if spots.is_empty() {
            return false;
        }
        let mut own =
            std::mem::take(bytes).try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        mask::apply(&mut own, &spots, &self.key);
        *bytes = own.freeze();
        true
    }
}
