//! Pure. Reads the head of a message line by line: the start line and what the fields mean for framing.

use common::exchange::Finding;
use memchr::{memchr, memchr2};

use super::length::{Length, Told, told};
use super::line::{Cut, Lines};
use super::list::List;
use crate::decode::Output;
use crate::findings::Findings;

/// The first line of a head (RFC 9112 §3, §4).
pub(super) trait StartLine: Sized + Copy {
    /// Reads a whole line, without its end; adds what is odd about it to the findings.
    fn parse(line: &[u8], findings: &mut Findings) -> Option<Self>;
    /// Whether a line that begins with this can be one.
    fn plausible(start: &[u8]) -> bool;
    /// Whether the minor version is 0.
    fn is_http10(self) -> bool;
}

/// How far a head has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress<S> {
    /// More of it must come; all bytes that were given are its own.
    More,
    /// It is complete.
    Complete(S),
    /// Its first line is no start line.
    BadStart,
}

/// The field that a folded line belongs to.
#[derive(Clone, Copy, Debug, Default)]
enum Field {
    #[default]
    Other,
    Length,
    Coding,
    Upgrade,
}

/// `Transfer-Encoding`: whether it ends with `chunked`, and names it where it must not.
const CODING: List = List::of(b"chunked");
/// `Upgrade` (RFC 9110 §7.8): whether it is there, and names `websocket`.
const UPGRADE: List = List::of(b"websocket");

/// One head that is being read, and what was understood of it.
#[derive(Debug)]
pub(super) struct Head<S> {
    lines: Lines,
    start: Option<S>,
    last: Field,
    length: Length,
    coding: List,
    pub(super) upgrade: List,
    pub(super) findings: Findings,
}

impl<S> Default for Head<S> {
    fn default() -> Self {
        Self {
            lines: Lines::default(),
            start: None,
            last: Field::default(),
            length: Length::default(),
            coding: CODING,
            upgrade: UPGRADE,
            findings: Findings::default(),
        }
    }
}

impl<S: StartLine> Head<S> {
    /// Makes ready for the next head.
    pub(super) fn reset(&mut self, out: &mut dyn Output) {
        self.lines.reset(out);
        self.start = None;
        self.last = Field::Other;
        self.length = Length::default();
        self.coding = CODING;
        self.upgrade = UPGRADE;
        self.findings = Findings::default();
    }

    /// Reads on; tells how many of the bytes belong to the head.
    pub(super) fn read(&mut self, bytes: &[u8], out: &mut dyn Output) -> (usize, Progress<S>) {
        let mut consumed = 0;
        loop {
            let rest = bytes.get(consumed..).unwrap_or_default();
            if rest.is_empty() {
                return (consumed, Progress::More);
            }
            let (line, is_plain, start) = match self.lines.cut(rest, out) {
                Cut::Line(line, length, is_plain) => {
                    consumed += length;
                    (line, is_plain, self.start)
                }
                Cut::Rest(length) => {
                    consumed += length;
                    continue;
                }
                Cut::Part(partial) => {
                    if self.start.is_none() && !S::plausible(partial) {
                        return (consumed, Progress::BadStart);
                    }
                    return (bytes.len(), Progress::More);
                }
                Cut::Long(line, length) => {
                    if self.start.is_none() {
                        return (consumed, Progress::BadStart);
                    }
                    consumed += length;
                    let field = match line {
                        [b' ' | b'\t', ..] => {
                            self.findings.add(Finding::FoldedField);
                            self.last
                        }
                        _ => match memchr(b':', line).and_then(|colon| line.get(..colon)) {
                            Some(name) => field_of(name.trim_ascii_end()),
                            None => {
                                self.findings.add(Finding::BadField);
                                Field::Other
                            }
                        },
                    };
                    match field {
                        Field::Length => self.length.too_long(),
                        Field::Coding => self.coding.too_long(),
                        Field::Upgrade => self.upgrade.too_long(),
                        Field::Other => {}
                    }
                    self.last = field;
                    continue;
                }
            };
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let text = line.strip_suffix(b"\r").unwrap_or(line);
            if text.len() == line.len() {
                self.findings.add(Finding::BareLf);
            }
            if !is_plain && memchr2(b'\r', 0, text).is_some() {
                self.findings.add(Finding::ControlByte);
            }
            match start {
                Some(start) if text.is_empty() => return (consumed, Progress::Complete(start)),
                Some(_) => {
                    // Borrows the line buffer no longer than the fields need it.
                    let fields = Fields {
                        last: &mut self.last,
                        length: &mut self.length,
                        coding: &mut self.coding,
                        upgrade: &mut self.upgrade,
                        findings: &mut self.findings,
                    };
                    fields.line(text);
                }
                None => match S::parse(text, &mut self.findings) {
                    Some(start) => self.start = Some(start),
                    None => return (consumed, Progress::BadStart),
                },
            }
        }
    }

    /// What the head tells about the end of the body; once, when it is complete.
    pub(super) fn told(&mut self, start: S) -> Told {
        let told = told(&mut self.length, &mut self.coding, &mut self.findings);
        if start.is_http10() && self.coding.is_present() {
            self.findings.add(Finding::TransferEncodingInHttp10);
        }
        self.upgrade.end();
        told
    }
}

struct Fields<'a> {
    last: &'a mut Field,
    length: &'a mut Length,
    coding: &'a mut List,
    upgrade: &'a mut List,
    findings: &'a mut Findings,
}

impl Fields<'_> {
    fn line(self, line: &[u8]) {
        if let [b' ' | b'\t', ..] = line {
            self.findings.add(Finding::FoldedField);
            match self.last {
                Field::Length => self.length.fold(line),
                Field::Coding => self.coding.fold(line),
                Field::Upgrade => self.upgrade.fold(line),
                Field::Other => {}
            }
            return;
        }
        *self.last = Field::Other;
        let mut end = 0;
        for &byte in line {
            if !is_token(byte) {
                break;
            }
            end += 1;
        }
        let (name, value) = match line.split_at_checked(end) {
            Some((name, [b':', value @ ..])) if !name.is_empty() => (name, value),
            _ => {
                let Some((name, value)) = memchr(b':', line).and_then(|at| line.split_at_checked(at)) else {
                    self.findings.add(Finding::BadField);
                    return;
                };
                let trimmed = name.trim_ascii_end();
                if trimmed.len() < name.len() {
                    self.findings.add(Finding::SpaceBeforeColon);
                }
                if trimmed.is_empty() || !trimmed.iter().copied().all(is_token) {
                    self.findings.add(Finding::BadField);
                }
                (trimmed, value.get(1..).unwrap_or_default())
            }
        };
        *self.last = field_of(name);
        match self.last {
            Field::Length => self.length.line(value),
            Field::Coding => self.coding.line(value),
            Field::Upgrade => self.upgrade.line(value),
            Field::Other => {}
        }
    }
}

fn field_of(name: &[u8]) -> Field {
    match (name.len(), name.first().map(|first| first | 0x20)) {
        (14, Some(b'c')) if name.eq_ignore_ascii_case(b"content-length") => Field::Length,
        (17, Some(b't')) if name.eq_ignore_ascii_case(b"transfer-encoding") => Field::Coding,
        (7, Some(b'u')) if name.eq_ignore_ascii_case(b"upgrade") => Field::Upgrade,
        _ => Field::Other,
    }
}

/// Whether this byte may stand in a token (RFC 9110 §5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    const TOKEN: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::indexing_slicing,
                reason = "below 256, at compile time"
            )]
            {
                table[byte] = matches!(byte as u8,
                    b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`'
                    | b'|' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z');
            }
            byte += 1;
        }
        table
    };
    TOKEN.get(usize::from(byte)).copied().unwrap_or_default()
}
