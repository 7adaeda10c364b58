//! Pure. Secrets in `name=value` pairs: queries and forms (WHATWG URL, application/x-www-form-urlencoded).

use super::{Category, Spot, names::Names};

/// Finds them; `at` is where the bytes begin in what they are part of.
pub fn find(bytes: &[u8], at: usize, fields: &Names, spots: &mut Vec<Spot>) {
    let mut start = at;
    for pair in bytes.split(|byte| *byte == b'&') {
        let end = start + pair.len();
        if let Some(equals) = memchr::memchr(b'=', pair)
            && let Some((name, value)) = pair.split_at_checked(equals)
            && value.len() > 1
            && fields.contains(innermost(&decode(name)))
        {
            spots.push(Spot { range: start + equals + 1..end, category: Category::Field });
        }
        start = end + 1;
    }
}

/// `user[password]` and `user.password` are a password.
fn innermost(name: &[u8]) -> &[u8] {
    let name = name.strip_suffix(b"]").unwrap_or(name);
    name.rsplit(|byte| matches!(byte, b'[' | b'.')).next().unwrap_or(name)
}

fn decode(name: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(name.len());
    let mut at = 0;
    while let Some(&byte) = name.get(at) {
        let escaped = match (byte, digit(name.get(at + 1)), digit(name.get(at + 2))) {
            (b'%', Some(high), Some(low)) => u8::try_from(high * 16 + low).ok(),
            _ => None,
        };
        decoded.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    decoded
}
