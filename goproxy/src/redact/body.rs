//! Pure. Secrets in bodies, by their type and through their codings.

use std::{io::Read as _, ops::Range};

use common::{chunked, exchange::Framing};
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::{Category, Redactor, Spot, json, multipart, pairs, patterns, xml};

/// So much of a compressed body is looked at; one that becomes longer is not known.
const MOST_DECODED_BYTES: u64 = 4 << 20;

/// What a head says of its body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kind {
    media: Media,
    coding: Coding,
}

/// The types that are looked into in ways of their own.
#[derive(Clone, Copy, Debug, Default)]
enum Media {
    Json,
    Form,
    Multipart,
    Markup,
    Binary,
    #[default]
    Other,
}

#[derive(Clone, Copy, Debug, Default)]
enum Coding {
    #[default]
    Identity,
    Gzip,
    Deflate,
    Unknown,
}

impl Kind {
    /// Hears a field of the head.
    pub fn hear(&mut self, name: &[u8], value: &[u8]) {
        match name.len() {
            12 if name.eq_ignore_ascii_case(b"content-type") => self.media = Media::of(value.trim_ascii()),
            16 if name.eq_ignore_ascii_case(b"content-encoding") => {
                self.coding = Coding::of(value.trim_ascii());
            }
            _ => {}
        }
    }
}

impl Media {
    /// The kind of a media type (RFC 9110 §8.3.1), whatever its parameters.
    fn of(value: &[u8]) -> Self {
        let whole = value.split(|byte| matches!(byte, b';' | b' ')).next().unwrap_or(value);
        let mut parts = whole.splitn(2, |byte| *byte == b'/');
        let (kind, subtype) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let is = |name: &str| kind.eq_ignore_ascii_case(name.as_bytes());
        let has = |part: &str| {
            subtype.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
        };
        if whole.eq_ignore_ascii_case(b"application/json") {
            // The most frequent one.
            Self::Json
        } else if ["image", "video", "audio", "font"].into_iter().any(is) || has("octet-stream") || has("zip")
        {
            Self::Binary
        } else if is("multipart") {
            Self::Multipart
        } else if has("x-www-form-urlencoded") {
            Self::Form
        } else if has("xml") || has("html") {
            Self::Markup
        } else if has("json") {
            Self::Json
        } else {
            Self::Other
        }
    }
}

impl Coding {
    fn of(value: &[u8]) -> Self {
        let is = |name: &str| value.eq_ignore_ascii_case(name.as_bytes());
        if is("") || is("identity") {
            Self::Identity
        } else if is("gzip") || is("x-gzip") {
            Self::Gzip
        } else if is("deflate") {
            Self::Deflate
        } else {
            Self::Unknown
        }
    }
}

/// Finds them in a body as it stands on the wire, cut short or not.
pub fn find(raw: &[u8], framing: Framing, kind: Kind, redactor: &Redactor, spots: &mut Vec<Spot>) {
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

fn in_content(content: &[u8], kind: Kind, redactor: &Redactor, spots: &mut Vec<Spot>) {
    let decoded = match kind.coding {
        Coding::Identity => return in_plain(content, kind.media, redactor, spots),
        Coding::Gzip => decode(MultiGzDecoder::new(content)),
        Coding::Deflate => decode(ZlibDecoder::new(content)).or_else(|| decode(DeflateDecoder::new(content))),
        Coding::Unknown => None,
    };
    let hides = match decoded {
        Some(plain) => {
            let mut inside = Vec::new();
            in_plain(&plain, kind.media, redactor, &mut inside);
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

fn in_plain(content: &[u8], media: Media, redactor: &Redactor, spots: &mut Vec<Spot>) {
    patterns::find(content, spots);
    if !matches!(media, Media::Binary) {
        patterns::find_cards(content, spots);
    }
    let fields = &redactor.fields;
    let begins_with =
        |bytes: &[u8]| content.trim_ascii_start().first().is_some_and(|byte| bytes.contains(byte));
    match media {
        Media::Binary => {}
        Media::Form => pairs::find(content.trim_ascii_end(), 0, fields, spots),
        Media::Multipart => multipart::find(content, fields, spots),
        Media::Markup => xml::find(content, fields, spots),
        Media::Json => {
            json::find(content, fields, spots);
            // A page that tells an error.
            if begins_with(b"<") {
                xml::find(content, fields, spots);
            }
        }
        // Many say text/plain, or nothing, and send one of these.
        Media::Other if begins_with(b"{[\"") => json::find(content, fields, spots),
        Media::Other if begins_with(b"<") => xml::find(content, fields, spots),
        Media::Other if content.len() < 4096 => pairs::find(content.trim_ascii_end(), 0, fields, spots),
        Media::Other => {}
    }
}
