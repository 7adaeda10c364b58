//! Pure. Undoes content codings (RFC 9110 §8.4), for who reads; what is stored stays as it was on the wire.

use std::io::{self, BufRead as _, BufReader, Read};

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// So many on top of each other are undone.
const MOST_CODINGS: usize = 3;
/// The window of zstd that a recipient must support (RFC 9659), as a power of two.
const ZSTD_WINDOW: u32 = 23;
/// Bytes that brotli reads at a time.
const BROTLI_BUFFER: usize = 4096;

/// A body without its codings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plain {
    /// The bytes, as many as were asked for.
    pub(crate) bytes: Vec<u8>,
    /// Why this is not all of it.
    pub(crate) cut: Option<Cut>,
}

/// Why a decoded body is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It is longer than was asked for.
    Limit,
    /// It breaks off, or does not fit its coding.
    Damaged,
}

/// Undoes what `Content-Encoding` tells, up to `limit` bytes. Nothing when there is no coding, one that is not known,
/// or not a byte that can be decoded.
pub(crate) fn undo(bytes: &[u8], told: &str, limit: usize) -> Option<Plain> {
    let codings = told.split(',').map(|coding| coding.trim().to_ascii_lowercase());
    let codings: Vec<_> = codings.filter(|coding| !coding.is_empty() && coding != "identity").collect();
    if codings.is_empty() || codings.len() > MOST_CODINGS {
        return None;
    }
    let mut reader: Box<dyn Read + '_> = Box::new(bytes);
    // The one that was applied last comes off first.
    for coding in codings.iter().rev() {
        reader = match coding.as_str() {
            "gzip" | "x-gzip" => Box::new(MultiGzDecoder::new(reader)),
            "deflate" => deflate(reader),
            "br" => Box::new(brotli::Decompressor::new(reader, BROTLI_BUFFER)),
            "zstd" => Box::new(zstd(reader).ok()?),
            _ => return None,
        };
    }
    read(reader, limit)
}

/// Many send DEFLATE without its zlib wrapper, and every browser takes it.
fn deflate<'a>(reader: Box<dyn Read + 'a>) -> Box<dyn Read + 'a> {
    let mut reader = BufReader::new(reader);
    if reader.fill_buf().is_ok_and(is_zlib) {
        Box::new(ZlibDecoder::new(reader))
    } else {
        Box::new(DeflateDecoder::new(reader))
    }
}

fn zstd<'a>(reader: Box<dyn Read + 'a>) -> io::Result<impl Read + 'a> {
    let mut decoder = zstd::Decoder::new(reader)?;
    decoder.window_log_max(ZSTD_WINDOW)?;
    Ok(decoder)
}

/// RFC 1950 §2.2: the method is 8, and the first two bytes are a multiple of 31.
fn is_zlib(bytes: &[u8]) -> bool {
    matches!(bytes, [method, flags, ..] if method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0)
}

fn read(mut reader: impl Read, limit: usize) -> Option<Plain> {
    let mut plain = Plain { bytes: Vec::new(), cut: None };
    let mut chunk = [0; 16 << 10];
    loop {
        let length = match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => {
                plain.cut = Some(Cut::Damaged);
                break;
            }
        };
        plain.bytes.extend_from_slice(chunk.get(..length).unwrap_or_default());
        if plain.bytes.len() > limit {
            plain.bytes.truncate(limit);
            plain.cut = Some(Cut::Limit);
            break;
        }
    }
    (!plain.bytes.is_empty() || plain.cut.is_none()).then_some(plain)
}

#[cfg(test)]
mod tests;
