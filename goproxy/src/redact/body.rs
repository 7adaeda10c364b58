//! Pure. Secrets in bodies, by their type and through their codings.

use std::{io::Read as _, ops::Range};

use common::{chunked, exchange::Framing};
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::{Category, Redactor, Spot, json, multipart, pairs, patterns, xml};

/// So much of a compressed body is looked at; one that becomes longer is not known.
const MOST_DECODED_BYTES: u64 = 4 << 20;

/// What a head says of its body.
#[derive(Debug, Default)]
pub struct Kind {
    media: Vec<u8>,
    codings: Vec<u8>,
}

impl Kind {
    /// Hears a field of the head; `value` begins with the colon.
    pub fn hear(&mut self, name: &[u8], value: &[u8]) {
        let told = || value.get(1..).unwrap_or_default().trim_ascii().to_ascii_lowercase();
        if name.eq_ignore_ascii_case(b"content-type") {
            self.media = told();
        } else if name.eq_ignore_ascii_case(b"content-encoding") {
            self.codings = told();
        }
    }
}

/// Finds them in a body as it stands on the wire, cut short or not.
pub fn find(raw: &[u8], framing: Framing, kind: &Kind, redactor: &Redactor, spots: &mut Vec<Spot>) {
    if raw.is_empty() {
        return;
    }
    let pieces = match framing {
        Framing::Chunked => chunked::content_ranges(raw),
        _ => std::iter::once(0..raw.len()).collect(),
    };
    let mut found = Vec::new();
    match pieces.as_slice() {
        [only] => in_content(raw.get(only.clone()).unwrap_or_default(), kind, redactor, &mut found),
        _ => in_content(&chunked::content(raw), kind, redactor, &mut found),
    }
    for spot in &found {
        place(spot, &pieces, spots);
    }
}

/// A spot of the content is one or several of the body that carries it in pieces.
fn place(spot: &Spot, pieces: &[Range<usize>], spots: &mut Vec<Spot>) {
    let mut before = 0;
    for piece in pieces {
        let here = before..before + piece.len();
        let start = spot.range.start.max(here.start);
        let end = spot.range.end.min(here.end);
        if start < end {
            let range = piece.start + start - before..piece.start + end - before;
            spots.push(Spot { range, category: spot.category });
        }
        before = here.end;
    }
}

fn in_content(content: &[u8], kind: &Kind, redactor: &Redactor, spots: &mut Vec<Spot>) {
    let decoded = match kind.codings.as_slice() {
        b"" | b"identity" => return in_plain(content, kind, redactor, spots),
        b"gzip" | b"x-gzip" => decode(MultiGzDecoder::new(content)),
        b"deflate" => decode(ZlibDecoder::new(content)).or_else(|| decode(DeflateDecoder::new(content))),
        _ => None,
    };
    let hides = match decoded {
        Some(plain) => {
            let mut inside = Vec::new();
            in_plain(&plain, kind, redactor, &mut inside);
            !inside.is_empty()
        }
        None => !redactor.keep_unreadable,
    };
    if hides {
        spots.push(Spot { range: 0..content.len(), category: Category::Withheld });
    }
}

/// What a compressed body holds, up to where it was cut short; `None` when it cannot be known whole.
fn decode(decoder: impl std::io::Read) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    match decoder.take(MOST_DECODED_BYTES).read_to_end(&mut plain) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof && !plain.is_empty() => {}
        Err(_) => return None,
    }
    ((plain.len() as u64) < MOST_DECODED_BYTES).then_some(plain)
}

fn in_plain(content: &[u8], kind: &Kind, redactor: &Redactor, spots: &mut Vec<Spot>) {
    let media = kind.media.as_slice();
    patterns::find(content, spots);
    if media.starts_with(b"application/json") {
        patterns::find_cards(content, spots);
        return json::find(content, &redactor.fields, spots);
    }
    let is = |part: &[u8]| memchr::memmem::find(media, part).is_some();
    if is(b"image/") || is(b"video/") || is(b"audio/") || is(b"font/") || is(b"octet-stream") || is(b"zip") {
        return;
    }
    patterns::find_cards(content, spots);
    let fields = &redactor.fields;
    if is(b"x-www-form-urlencoded") {
        pairs::find(content.trim_ascii_end(), 0, fields, spots);
    } else if is(b"multipart/") {
        multipart::find(content, fields, spots);
    } else if is(b"xml") || is(b"html") {
        xml::find(content, fields, spots);
    } else {
        // Many say text/plain, or nothing, and send one of these.
        match content.trim_ascii_start().first() {
            Some(b'{' | b'[' | b'"') => json::find(content, fields, spots),
            Some(b'<') => xml::find(content, fields, spots),
            _ if is(b"json") => json::find(content, fields, spots),
            _ if content.len() < 4096 => pairs::find(content.trim_ascii_end(), 0, fields, spots),
            _ => {}
        }
    }
}
