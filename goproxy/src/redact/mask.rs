//! Pure. The tokens that stand where secrets were.

use std::{fmt, ops::Range};

use common::config::Secret;
use ring::hmac;

/// A stretch of bytes that must not be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Where.
    pub range: Range<usize>,
    /// What was found there.
    pub category: Category,
}

/// What a secret was found as; part of its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// The value of a header field.
    Header,
    /// The value of a cookie.
    Cookie,
    /// The value of a named field in a query, a form, JSON or XML.
    Field,
    /// A JSON number under such a name: it stays a number.
    Number,
    /// A JSON web token (RFC 7519).
    Jwt,
    /// A payment card number (ISO/IEC 7812).
    Card,
    /// A PEM private key (RFC 7468).
    PrivateKey,
    /// A token with a prefix that its issuer gives it.
    ApiKey,
    /// A body that cannot be looked into.
    Withheld,
}

impl Category {
    fn as_str(self) -> &'static str {
        match self {
            Self::Header => "HEADER",
            Self::Cookie => "COOKIE",
            Self::Field | Self::Number => "FIELD",
            Self::Jwt => "JWT",
            Self::Card => "CARD",
            Self::PrivateKey => "PRIVATE-KEY",
            Self::ApiKey => "API-KEY",
            Self::Withheld => "WITHHELD",
        }
    }
}

/// The key of the tokens.
pub struct Key(hmac::Key);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// The key that this text stands for: the same text, the same tokens.
    pub fn of(secret: &Secret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes()))
    }

    /// The key of these bytes, which should be drawn where nobody can guess them.
    pub fn new(drawn: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, drawn))
    }
}

/// Hexadecimal digits of a token: 80 bits.
const DIGITS: usize = 20;
/// Shorter than this there is no room for a token that would tell two secrets apart.
const SHORTEST_TOKEN: usize = 8;

/// Overwrites what is at these spots. Spots may overlap; what an earlier one covered is not read again.
pub fn apply(bytes: &mut [u8], spots: &[Spot], key: &Key) {
    let mut done = 0;
    let mut spots: Vec<_> = spots.iter().collect();
    spots.sort_by_key(|spot| spot.range.start);
    for spot in spots {
        let range = spot.range.start.max(done)..spot.range.end.min(bytes.len());
        if let Some(secret) = bytes.get_mut(range) {
            overwrite(secret, spot.category, key);
        }
        done = done.max(spot.range.end);
    }
}

fn overwrite(secret: &mut [u8], category: Category, key: &Key) {
    if category == Category::Number {
        return secret.fill(b'9');
    }
    let digest = hmac::sign(&key.0, secret);
    let hex = digest.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| match digit {
        0..=9 => b'0' + digit,
        _ => b'a' + digit - 10,
    });
    let whole = "REDACTED-".len() + category.as_str().len() + 1 + DIGITS;
    let prefix = match secret.len() {
        length if length >= whole => ["REDACTED-", category.as_str(), "-"],
        SHORTEST_TOKEN.. => ["R-", "", ""],
        _ => return secret.fill(b'*'),
    };
    let token = prefix.iter().flat_map(|part| part.bytes()).chain(hex.take(DIGITS));
    let filled = token.chain(std::iter::repeat(b'*'));
    secret.iter_mut().zip(filled).for_each(|(place, byte)| *place = byte);
}
