//! Pure. Secrets in multipart forms (RFC 7578).

use memchr::memmem;

use super::{Category, Spot, names::Names};

/// Finds the values of parts with such a name.
pub fn find(bytes: &[u8], fields: &Names, spots: &mut Vec<Spot>) {
    let mut at = 0;
    while let Some(distance) = memmem::find(bytes.get(at..).unwrap_or_default(), b"\r\n\r\n") {
        let value = at + distance + 4;
        let head = bytes.get(at..value).unwrap_or_default();
        let rest = bytes.get(value..).unwrap_or_default();
        let end = value + memmem::find(rest, b"\r\n--").unwrap_or(rest.len());
        if name(head).is_some_and(|name| fields.contains(name)) && end > value {
            spots.push(Spot { range: value..end, category: Category::Field });
        }
        at = end;
    }
}

fn name(head: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"name=";
    let found = memmem::find_iter(head, NAME).find(|at| {
        // Not the end of `filename=`.
        at.checked_sub(1).and_then(|before| head.get(before)).is_none_or(|byte| !byte.is_ascii_alphanumeric())
    });
    let told = head.get(found? + NAME.len()..)?;
    match told.strip_prefix(b"\"") {
        Some(quoted) => quoted.split(|byte| *byte == b'"').next(),
        None => told.split(|byte| matches!(byte, b';' | b'\r' | b' ')).next(),
    }
}
