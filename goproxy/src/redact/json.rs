//! Pure. Secrets in JSON (RFC 8259), cut short or not quite right as it may be.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memchr2};

use super::{Category, Spot, names::Names};

/// A string in a string is looked into so many times.
const NESTED: u8 = 3;

/// Finds them.
pub fn find(bytes: &[u8], fields: &Names, spots: &mut Vec<Spot>) {
    if may_name_secrets(bytes, fields) {
        walk(bytes, fields, spots);
    }
}

/// Whether it is worth a walk: most documents name nothing secret, which their colons tell sooner. Where nothing is
/// escaped, a name is what stands between two quotes that follow each other, with a colon behind them.
fn may_name_secrets(bytes: &[u8], fields: &Names) -> bool {
    memchr(b'\\', bytes).is_some()
        || memchr_iter(b':', bytes).any(|colon| {
            let before = bytes.get(..colon).unwrap_or_default().trim_ascii_end();
            before.strip_suffix(b"\"").is_some_and(|before| {
                let name = || before.rsplit(|byte| *byte == b'"').next().unwrap_or(before);
                fields.may_end(before) && fields.contains(name())
            })
        })
}

fn walk(bytes: &[u8], fields: &Names, spots: &mut Vec<Spot>) {
    Walk { bytes, fields, spots, nested: NESTED }.run();
}

struct Walk<'a> {
    bytes: &'a [u8],
    fields: &'a Names,
    spots: &'a mut Vec<Spot>,
    nested: u8,
}

impl Walk<'_> {
    fn run(&mut self) {
        let mut at = 0;
        let mut depth = 0_usize;
        // Whether the next value is a secret; the depth of the container all of whose values are.
        let mut secret = false;
        let mut secret_from = None;
        while let Some(&byte) = self.bytes.get(at) {
            match byte {
                b'"' => {
                    let end = string_end(self.bytes, at + 1);
                    let text = self.bytes.get(at + 1..end).unwrap_or_default();
                    let behind = skip_space(self.bytes, end + 1);
                    if self.bytes.get(behind) == Some(&b':') {
                        secret = self.fields.contains(&plain(text));
                        at = behind + 1;
                        continue;
                    }
                    if !text.is_empty() && (secret || secret_from.is_some() || self.hides_secrets(text)) {
                        self.spots.push(Spot { range: at + 1..end, category: Category::Field });
                    }
                    secret = false;
                    at = end + 1;
                }
                b'{' | b'[' => {
                    depth += 1;
                    if std::mem::take(&mut secret) {
                        secret_from = secret_from.or(Some(depth));
                    }
                    at += 1;
                }
                b'}' | b']' => {
                    if secret_from == Some(depth) {
                        secret_from = None;
                    }
                    depth = depth.saturating_sub(1);
                    at += 1;
                }
                b'-' | b'0'..=b'9' => {
                    let end = number_end(self.bytes, at);
                    if std::mem::take(&mut secret) || secret_from.is_some() {
                        self.spots.push(Spot { range: at..end, category: Category::Number });
                    }
                    at = end;
                }
                b',' => {
                    secret = false;
                    at += 1;
                }
                _ => at += 1,
            }
        }
    }

    /// A document that stands in a string of another, with its quotes escaped.
    fn hides_secrets(&self, text: &[u8]) -> bool {
        if self.nested == 0 || !matches!(text.trim_ascii_start().first(), Some(b'{' | b'[')) {
            return false;
        }
        let mut spots = Vec::new();
        let inner = unescape(text);
        Walk { bytes: &inner, fields: self.fields, spots: &mut spots, nested: self.nested - 1 }.run();
        !spots.is_empty()
    }
}

fn string_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(distance) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += distance;
        if bytes.get(at) == Some(&b'"') {
            return at;
        }
        at += 2;
    }
    bytes.len()
}

fn skip_space(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

fn number_end(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    let part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    from + rest.iter().take_while(part).count()
}

fn plain(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'\\', text).is_some() { Cow::Owned(unescape(text)) } else { Cow::Borrowed(text) }
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let escape = if byte == b'\\' { text.get(at + 1) } else { None };
        at += match escape {
            None => {
                plain.push(byte);
                1
            }
            Some(b'u') => {
                let digits = text.get(at + 2..at + 6).and_then(|digits| std::str::from_utf8(digits).ok());
                let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
                let character = code.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
                plain.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                6
            }
            Some(escaped) => {
                plain.push(match escaped {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    other => *other,
                });
                2
            }
        };
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_the_colons_tell_is_what_a_walk_finds(parts in prop::collection::vec(
            prop_oneof![
                Just("\""), Just("\": "), Just("\":\""), Just(","), Just(":"), Just("{"), Just("}"), Just("["), Just("7"),
                Just("\\"), Just("\\\""), Just("\\u0022"), Just("{\\\"pin\\\":1}"), Just(" "),
                Just("\"pin\" : "), Just("\"db-password\"\n:"), Just("\"pass\\u0077ord\":"), Just("\"name\":"),
                Just("pin"), Just("pass"), Just("word"), Just("db_pass-word"), Just("name"),
            ],
            0..24,
        )) {
            let text = parts.concat();
            let fields = Names::new(["pin", "password"]);
            let [mut found, mut walked] = [Vec::new(), Vec::new()];
            find(text.as_bytes(), &fields, &mut found);
            walk(text.as_bytes(), &fields, &mut walked);
            prop_assert_eq!(found, walked);
        }
    }
}
