//! Pure. The status line (RFC 9112 §4), and how the body of a response ends.

use common::exchange::Framing;

use super::head::StartLine;
use super::length::Told;
use super::request::{Asked, Method, is_http10};
use crate::findings::Findings;

/// A status line that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StatusLine {
    pub(super) status: u16,
    http10: bool,
}

impl StartLine for StatusLine {
    fn parse(line: &[u8], _findings: &mut Findings) -> Option<Self> {
        let (version, rest) = line.split_at_checked(b"HTTP/1.1".len())?;
        let http10 = is_http10(version)?;
        let ([b' ', digits @ ..], reason) = rest.split_at_checked(b" 200".len())? else {
            return None;
        };
        if !digits.iter().all(u8::is_ascii_digit) || !matches!(reason, [] | [b' ', ..]) {
            return None;
        }
        let status = digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
        Some(Self { status, http10 })
    }

    fn plausible(start: &[u8]) -> bool {
        start.iter().zip(b"HTTP/").all(|(byte, wanted)| byte == wanted)
    }

    fn is_http10(self) -> bool {
        self.http10
    }
}

/// What a response head means (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Another head follows.
    Informational,
    /// What follows is no HTTP/1 any more: 101, or 2xx to CONNECT.
    Switch,
    /// The response, with its body.
    Final(Framing, u64),
}

impl StatusLine {
    pub(super) fn answer(self, asked: Asked, told: Told) -> Answer {
        match self.status {
            101 => Answer::Switch,
            100..=199 => Answer::Informational,
            200..=299 if asked.method == Method::Connect => Answer::Switch,
            204 | 304 => Answer::Final(Framing::None, 0),
            _ if asked.method == Method::Head => Answer::Final(Framing::None, 0),
            _ => match told {
                Told::Length(bytes) => Answer::Final(Framing::Length, bytes),
                Told::Chunked => Answer::Final(Framing::Chunked, 0),
                // The end of the connection is the one end that cannot be told wrong.
                Told::Nothing | Told::Wrong(_) => Answer::Final(Framing::Close, 0),
            },
        }
    }
}
