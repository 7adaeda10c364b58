//! Pure. The fields that tell how a body ends, read as their values come, folded and repeated.

use common::exchange::Finding;

use super::list::List;
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

/// What the two fields tell together; what is odd is added to the findings.
pub(super) fn told(length: &mut Length, coding: &mut List, findings: &mut Findings) -> Told {
    if !length.present && !coding.is_present() {
        return Told::Nothing;
    }
    length.close();
    coding.end();
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
    if !coding.is_present() {
        return match (wrong, length.value) {
            (Some(finding), _) => Told::Wrong(finding),
            (None, Some(bytes)) => Told::Length(bytes),
            (None, None) => Told::Nothing,
        };
    }
    if length.present {
        findings.add(Finding::AmbiguousLength);
    }
    if coding.is_bad() || !coding.ends_with_word() {
        findings.add(Finding::BadTransferEncoding);
        return Told::Wrong(Finding::BadTransferEncoding);
    }
    if coding.words() > 1 {
        findings.add(Finding::BadTransferEncoding);
    }
    Told::Chunked
}
