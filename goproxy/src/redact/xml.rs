//! Pure. Secrets in XML and HTML: the text of elements and the values of attributes with such a name.

use memchr::memchr;

use super::{Category, Spot, names::Names};

/// Finds them.
pub fn find(bytes: &[u8], fields: &Names, spots: &mut Vec<Spot>) {
    let mut at = 0;
    while let Some(start) = next(bytes, at, b'<') {
        let end = next(bytes, start, b'>').unwrap_or(bytes.len());
        let tag = bytes.get(start + 1..end).unwrap_or_default();
        attributes(tag, start + 1, fields, spots);
        let name = tag.split(|byte| byte.is_ascii_whitespace() || *byte == b'/').next().unwrap_or_default();
        if fields.contains(local(name)) && !tag.ends_with(b"/") {
            let text = text(bytes, end + 1);
            if !text.is_empty() {
                spots.push(Spot { range: text, category: Category::Field });
            }
        }
        at = end.max(start + 1);
    }
}

/// Up to the next tag; a CDATA section is text.
fn text(bytes: &[u8], from: usize) -> std::ops::Range<usize> {
    const CDATA: &[u8] = b"<![CDATA[";
    let rest = bytes.get(from..).unwrap_or_default();
    if rest.trim_ascii_start().starts_with(CDATA) {
        let start = from + rest.len() - rest.trim_ascii_start().len() + CDATA.len();
        let inside = bytes.get(start..).unwrap_or_default();
        return start..start + memchr::memmem::find(inside, b"]]>").unwrap_or(inside.len());
    }
    from..next(bytes, from, b'<').unwrap_or(bytes.len()).max(from)
}

fn attributes(tag: &[u8], at: usize, fields: &Names, spots: &mut Vec<Spot>) {
    let mut from = 0;
    while let Some(equals) = next(tag, from, b'=') {
        let before = tag.get(from..equals).unwrap_or_default().trim_ascii_end();
        let name = before.rsplit(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
        let Some(&quote @ (b'"' | b'\'')) = tag.get(equals + 1) else {
            from = equals + 1;
            continue;
        };
        let end = next(tag, equals + 2, quote).unwrap_or(tag.len());
        if fields.contains(local(name)) && end > equals + 2 {
            spots.push(Spot { range: at + equals + 2..at + end, category: Category::Field });
        }
        from = end;
    }
}

fn local(name: &[u8]) -> &[u8] {
    name.rsplit(|byte| *byte == b':').next().unwrap_or(name)
}

fn next(bytes: &[u8], from: usize, byte: u8) -> Option<usize> {
    bytes.get(from..).and_then(|rest| memchr(byte, rest)).map(|distance| from + distance)
}
