//! Pure. Secrets in heads: header fields by name, cookies, user information and queries in URLs.

use std::sync::LazyLock;

use memchr::{memchr, memchr2, memmem::Finder, memrchr};

use super::{Category, Redactor, Spot, body::Kind, pairs, patterns};

/// Built once: that takes longer than to search a head.
static AUTHORITY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"://"));

/// Finds them in a head or a trailer section, cut short or not. Returns what it says of the body.
pub fn find(bytes: &[u8], redactor: &Redactor, spots: &mut Vec<Spot>) -> Kind {
    let mut kind = Kind::default();
    if bytes.is_empty() {
        return kind;
    }
    patterns::find(bytes, spots);
    // Most heads have no URL and no query in them.
    let has_urls = memchr2(b'?', b'#', bytes).is_some() || AUTHORITY.find(bytes).is_some();
    let mut at = 0;
    let mut is_first = true;
    while at < bytes.len() {
        let end = line_end(bytes, at);
        let line = bytes.get(at..end).unwrap_or_default();
        match cut(line).filter(|(name, _)| !is_first || is_name(name)) {
            Some((name, value)) => {
                let at = at + name.len() + 1;
                let name = name.trim_ascii();
                kind.hear(name, value);
                if redactor.headers.contains(name) {
                    secret(name, value, at, spots);
                } else if has_urls {
                    find_in_value(value, at, redactor, spots);
                }
            }
            None if has_urls => find_in_value(line, at, redactor, spots),
            None => {}
        }
        is_first = is_first && line.trim_ascii().is_empty();
        at = end;
    }
    kind
}

/// The end of a line with those that are folded into it (RFC 9112 §5.2).
fn line_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(distance) = bytes.get(at..).and_then(|rest| memchr(b'\n', rest)) {
        at += distance + 1;
        if !matches!(bytes.get(at), Some(b' ' | b'\t')) {
            return at;
        }
    }
    bytes.len()
}

/// What stands before and behind the colon, which is too near to be worth a wider search.
fn cut(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, behind) = line.split_at_checked(line.iter().position(|byte| *byte == b':')?)?;
    Some((name, behind.get(1..)?))
}

/// A trailer section has no start line: what looks like a field is one.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The value of a field that is a secret, which stands at `at`.
fn secret(name: &[u8], value: &[u8], at: usize, spots: &mut Vec<Spot>) {
    let start = at + (value.len() - value.trim_ascii_start().len());
    let told = value.trim_ascii();
    if told.is_empty() {
        return;
    }
    if name.eq_ignore_ascii_case(b"cookie") {
        cookies(told, start, spots);
    } else if name.eq_ignore_ascii_case(b"set-cookie") {
        let pair = told.split(|byte| *byte == b';').next().unwrap_or(told);
        cookies(pair, start, spots);
    } else {
        // `Bearer` and `Basic` are no secrets, and tell what the token was.
        let scheme = memchr(b' ', told).filter(|_| name.to_ascii_lowercase().ends_with(b"authorization"));
        let secret = start + scheme.map_or(0, |space| space + 1);
        spots.push(Spot { range: secret..start + told.len(), category: Category::Header });
    }
}

fn cookies(value: &[u8], at: usize, spots: &mut Vec<Spot>) {
    let mut start = at;
    for cookie in value.split(|byte| *byte == b';') {
        let end = start + cookie.len();
        let value = memchr(b'=', cookie).map_or(start, |equals| start + equals + 1);
        if end > value {
            spots.push(Spot { range: value..end, category: Category::Cookie });
        }
        start = end + 1;
    }
}

/// Finds them in a start line or in a value that may be a URL; `at` is where it begins.
pub fn find_in_value(value: &[u8], at: usize, redactor: &Redactor, spots: &mut Vec<Spot>) {
    if let Some(authority) = AUTHORITY.find(value) {
        let from = authority + 3;
        let rest = value.get(from..).unwrap_or_default();
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b' ')).unwrap_or(rest.len());
        let user = rest.get(..end).and_then(|authority| memrchr(b'@', authority));
        let colon = user.and_then(|user| memchr(b':', rest.get(..user)?));
        if let (Some(user), Some(colon)) = (user, colon)
            && user > colon + 1
        {
            spots.push(Spot { range: at + from + colon + 1..at + from + user, category: Category::Field });
        }
    }
    for mark in [b'?', b'#'] {
        if let Some(query) = memchr(mark, value) {
            let rest = value.get(query + 1..).unwrap_or_default();
            let end =
                rest.iter().position(|byte| matches!(byte, b' ' | b'#' | b'"' | b'>')).unwrap_or(rest.len());
            let told = rest.get(..end).unwrap_or_default().trim_ascii_end();
            pairs::find(told, at + query + 1, &redactor.fields, spots);
        }
    }
}
