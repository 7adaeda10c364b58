//! Pure. The chunked transfer coding (RFC 9112 §7.1): followed byte by byte, and taken off a kept body.

use std::{borrow::Cow, ops::Range};

use memchr::{memchr, memchr2};

#[cfg(test)]
mod tests;

/// Where in the coding the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first digit of a chunk size.
    Size,
    /// Behind a digit of it.
    MoreSize,
    /// In white space behind the size.
    Space,
    /// In a chunk extension (§7.1.1).
    Extension,
    /// Behind a CR in a chunk extension.
    ExtensionCr,
    /// Behind the CR that ends a chunk line.
    LineCr,
    /// In the data of a chunk.
    Data,
    /// Behind the data of a chunk.
    DataEnd,
    /// Behind the CR that follows the data.
    DataCr,
    /// At the start of a line of the trailer section (§7.1.2).
    Trailer,
    /// Behind a CR at the start of such a line.
    TrailerCr,
    /// Within a line of the trailer section; whether behind a CR.
    TrailerLine(bool),
    /// Behind the empty line that ends the trailer section.
    End,
    /// Behind something that is not the coding.
    Bad,
}

/// Follows a chunked body that comes in parts, split anywhere. Keeps none of its bytes.
#[derive(Clone, Debug)]
pub struct Scanner {
    state: State,
    /// The size that is being read; what is left of the chunk in its data.
    left: u64,
    content_bytes: u64,
    bare_lf: bool,
    control_byte: bool,
}

/// What [`Scanner::scan`] made of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// So many belong to the body with its chunk lines, up to and with the last chunk's line.
    pub body: usize,
    /// So many behind them belong to the trailer section with the empty line that ends it.
    pub trailers: usize,
    /// What is behind them.
    pub status: Status,
}

/// How far a chunked body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// More of it must come; all bytes that were given are its own.
    More,
    /// It is at its end; the bytes that are left are not its own.
    Complete,
    /// The next byte is not chunked coding, or a chunk size does not fit 64 bits.
    Bad,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { state: State::Size, left: 0, content_bytes: 0, bare_lf: false, control_byte: false }
    }
}

impl Scanner {
    /// Follows some more bytes. Chunk data is stepped over, not looked at.
    pub fn scan(&mut self, bytes: &[u8]) -> Scanned {
        self.run(bytes, |_, _| ())
    }

    /// How many bytes of content, without chunk lines, were seen so far.
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// Whether a line ended in LF without CR.
    pub fn bare_lf(&self) -> bool {
        self.bare_lf
    }

    /// Whether a CR without LF stood in a chunk extension or at the start of a trailer line.
    pub fn control_byte(&self) -> bool {
        self.control_byte
    }

    fn run<'a>(&mut self, bytes: &'a [u8], mut content: impl FnMut(usize, &'a [u8])) -> Scanned {
        let in_trailers = matches!(self.state, State::Trailer | State::TrailerCr | State::TrailerLine(_));
        let mut body = in_trailers.then_some(0);
        let mut rest = bytes;
        while let (Some((&byte, behind)), false) =
            (rest.split_first(), matches!(self.state, State::End | State::Bad))
        {
            rest = match self.state {
                State::Data => {
                    let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
                    let (data, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
                    content(bytes.len() - rest.len(), data);
                    self.left -= length as u64;
                    self.content_bytes = self.content_bytes.saturating_add(length as u64);
                    if self.left == 0 {
                        self.state = State::DataEnd;
                    }
                    behind
                }
                State::Extension => {
                    let end = memchr2(b'\r', b'\n', rest);
                    match end.and_then(|at| rest.split_at_checked(at)).and_then(|(_, end)| end.split_first())
                    {
                        Some((&byte, behind)) => {
                            self.step(byte);
                            behind
                        }
                        None => &[],
                    }
                }
                State::TrailerLine(_) => match memchr(b'\n', rest) {
                    Some(at) => {
                        if let Some(&last) = at.checked_sub(1).and_then(|before| rest.get(before)) {
                            self.state = State::TrailerLine(last == b'\r');
                        }
                        self.step(b'\n');
                        rest.get(at + 1..).unwrap_or_default()
                    }
                    None => {
                        self.state = State::TrailerLine(rest.last() == Some(&b'\r'));
                        &[]
                    }
                },
                _ => {
                    self.step(byte);
                    match self.state {
                        State::Bad => rest,
                        _ => behind,
                    }
                }
            };
            if self.state == State::Trailer && body.is_none() {
                body = Some(bytes.len() - rest.len());
            }
        }
        let consumed = bytes.len() - rest.len();
        let body = body.unwrap_or(consumed);
        let status = match self.state {
            State::End => Status::Complete,
            State::Bad => Status::Bad,
            _ => Status::More,
        };
        Scanned { body, trailers: consumed - body, status }
    }

    fn step(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (State::Size | State::MoreSize, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte),
            (State::MoreSize | State::Space, b' ' | b'\t') => State::Space,
            (State::MoreSize | State::Space, b';') => State::Extension,
            (State::MoreSize | State::Space, b'\r') => State::LineCr,
            (State::MoreSize | State::Space | State::Extension, b'\n') => {
                self.bare_lf = true;
                self.chunk_line_end()
            }
            (State::Extension, b'\r') => State::ExtensionCr,
            (State::LineCr | State::ExtensionCr, b'\n') => self.chunk_line_end(),
            (State::ExtensionCr, _) => {
                self.control_byte = true;
                if byte == b'\r' { State::ExtensionCr } else { State::Extension }
            }
            (State::DataEnd, b'\r') => State::DataCr,
            (State::DataEnd, b'\n') => {
                self.bare_lf = true;
                State::Size
            }
            (State::DataCr, b'\n') => State::Size,
            (State::Trailer, b'\r') => State::TrailerCr,
            (State::Trailer, b'\n') => {
                self.bare_lf = true;
                State::End
            }
            (State::Trailer, _) => State::TrailerLine(false),
            (State::TrailerCr, b'\n') => State::End,
            (State::TrailerCr, _) => {
                self.control_byte = true;
                State::TrailerLine(byte == b'\r')
            }
            (State::TrailerLine(behind_cr), b'\n') => {
                self.bare_lf |= !behind_cr;
                State::Trailer
            }
            _ => State::Bad,
        };
    }

    fn digit(&mut self, byte: u8) -> State {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            _ => (byte | 0x20) - b'a' + 10,
        };
        match self.left.checked_mul(16) {
            Some(shifted) => {
                self.left = shifted | u64::from(digit);
                State::MoreSize
            }
            None => State::Bad,
        }
    }

    fn chunk_line_end(&mut self) -> State {
        if self.left == 0 { State::Trailer } else { State::Data }
    }
}

/// The content of a body that was kept with its chunk lines, perhaps not to its end: everything up
/// to where the bytes or the coding end. Borrows when the content is one chunk.
pub fn content(raw: &[u8]) -> Cow<'_, [u8]> {
    let mut content: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    Scanner::default().run(raw, |_, data| {
        if content.is_empty() {
            content = Cow::Borrowed(data);
        } else {
            content.to_mut().extend_from_slice(data);
        }
    });
    content
}

/// Where the content of such a body stands in it, piece by piece.
pub fn content_ranges(raw: &[u8]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    Scanner::default().run(raw, |at, data| ranges.push(at..at + data.len()));
    ranges
}
