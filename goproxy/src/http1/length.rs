//! Pure. The fields that tell how a body ends, read as their values come, folded and repeated.

use common::exchange::Finding;

use crate::findings::Findings;

/// What `Content-Length` and `Transfer-Encoding` together tell about the end of a body (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Neither was there.
    Nothing,
    /// So many bytes.
    Length(u64),
    /// Chunked is the final coding.
    Chunked,
    /// They were there, and this is wrong with them.
    Wrong(Finding),
}

/// `Content-Length`: a number, or the same number several times (RFC 9110 §8.6).
#[derive(Debug, Default)]
pub(super) struct Length {
    present: bool,
    element: Element,
    value: Option<u64>,
    bad: bool,
    conflict: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum Element {
    #[default]
    Nothing,
    Digits(u64),
    /// A number with white space behind it.
    Closed(u64),
}

impl Length {
    pub(super) fn line(&mut self, value: &[u8]) {
        self.present = true;
        self.close();
        self.more(value);
    }

    pub(super) fn more(&mut self, value: &[u8]) {
        for &byte in value {
            self.element = match (self.element, byte) {
                (Element::Nothing, b' ' | b'\t') => Element::Nothing,
                (Element::Nothing, b'0'..=b'9') => Element::Digits(u64::from(byte - b'0')),
                (Element::Digits(number), b'0'..=b'9') => {
                    let more = number.checked_mul(10).and_then(|ten| ten.checked_add(u64::from(byte - b'0')));
                    self.bad |= more.is_none();
                    Element::Digits(more.unwrap_or_default())
                }
                (Element::Digits(number) | Element::Closed(number), b' ' | b'\t') => Element::Closed(number),
                (_, b',') => {
                    self.close();
                    Element::Nothing
                }
                _ => {
                    self.bad = true;
                    self.element
                }
            };
        }
    }

    /// A fold stands for white space (RFC 9112 §5.2).
    pub(super) fn fold(&mut self, value: &[u8]) {
        self.more(b" ");
        self.more(value);
    }

    pub(super) fn too_long(&mut self) {
        self.present = true;
        self.bad = true;
    }

    fn close(&mut self) {
        if let Element::Digits(number) | Element::Closed(number) = self.element {
            self.conflict |= self.value.is_some_and(|value| value != number);
            self.value = Some(number);
        }
        self.element = Element::Nothing;
    }
}

/// The last coding of `Transfer-Encoding`, and whether `chunked` is named where it must not be.
#[derive(Debug, Default)]
pub(super) struct Coding {
    present: bool,
    token: Token,
    chunked: u32,
    last_is_chunked: bool,
    bad: bool,
}

impl Coding {
    pub(super) fn line(&mut self, value: &[u8]) {
        self.present = true;
        self.end_of_token();
        self.more(value);
    }

    fn more(&mut self, value: &[u8]) {
        for &byte in value {
            if byte == b',' {
                self.end_of_token();
            } else {
                self.token.byte(byte, b"chunked");
            }
        }
    }

    pub(super) fn fold(&mut self, value: &[u8]) {
        self.more(b" ");
        self.more(value);
    }

    pub(super) fn too_long(&mut self) {
        self.present = true;
        self.bad = true;
    }

    pub(super) fn is_present(&self) -> bool {
        self.present
    }

    fn end_of_token(&mut self) {
        if let Some(is_chunked) = self.token.end(b"chunked") {
            self.last_is_chunked = is_chunked;
            self.chunked = self.chunked.saturating_add(u32::from(is_chunked));
        }
    }
}

/// `Upgrade` (RFC 9110 §7.8): whether it is there, and names `websocket`.
#[derive(Debug, Default)]
pub(super) struct Upgrade {
    pub(super) present: bool,
    pub(super) websocket: bool,
    token: Token,
}

impl Upgrade {
    pub(super) fn line(&mut self, value: &[u8]) {
        self.present = true;
        self.end_of_token();
        self.more(value);
    }

    pub(super) fn more(&mut self, value: &[u8]) {
        for &byte in value {
            if byte == b',' {
                self.end_of_token();
            } else {
                self.token.byte(byte, b"websocket");
            }
        }
    }

    pub(super) fn fold(&mut self, value: &[u8]) {
        self.more(b" ");
        self.more(value);
    }

    pub(super) fn end_of_token(&mut self) {
        self.websocket |= self.token.end(b"websocket") == Some(true);
    }
}

/// Compares one element of a list with a word, as its bytes come, whatever their case.
#[derive(Clone, Copy, Debug, Default)]
struct Token {
    matched: usize,
    any: bool,
    closed: bool,
    differs: bool,
}

impl Token {
    fn byte(&mut self, byte: u8, word: &[u8]) {
        match byte {
            b' ' | b'\t' => self.closed = self.any,
            _ if self.closed => self.differs = true,
            _ => {
                self.any = true;
                self.differs |= word.get(self.matched) != Some(&byte.to_ascii_lowercase());
                self.matched += 1;
            }
        }
    }

    /// Whether the element was the word; `None` when there was none.
    fn end(&mut self, word: &[u8]) -> Option<bool> {
        let token = std::mem::take(self);
        token.any.then_some(!token.differs && token.matched == word.len())
    }
}

/// What the two fields tell together; what is odd is added to the findings.
pub(super) fn told(length: &mut Length, coding: &mut Coding, findings: &mut Findings) -> Told {
    if !length.present && !coding.present {
        return Told::Nothing;
    }
    length.close();
    coding.end_of_token();
    let mut wrong = None;
    let mut found = |finding| {
        findings.add(finding);
        wrong = Some(finding);
    };
    if length.present {
        if length.conflict {
            found(Finding::ConflictingLength);
        }
        if length.bad || length.value.is_none() {
            found(Finding::BadLength);
        }
    }
    if !coding.present {
        return match (wrong, length.value) {
            (Some(finding), _) => Told::Wrong(finding),
            (None, Some(bytes)) => Told::Length(bytes),
            (None, None) => Told::Nothing,
        };
    }
    if length.present {
        findings.add(Finding::AmbiguousLength);
    }
    if coding.bad || !coding.last_is_chunked {
        findings.add(Finding::BadTransferEncoding);
        return Told::Wrong(Finding::BadTransferEncoding);
    }
    if coding.chunked > 1 {
        findings.add(Finding::BadTransferEncoding);
    }
    Told::Chunked
}
