//! Pure. Follows a body to its end (RFC 9112 §6.3), counting what is in it.

use common::chunked::{Scanner, Status};
use common::exchange::Framing;

/// A body that is being read.
#[derive(Debug)]
pub(super) enum Body {
    /// So many bytes are left.
    Length(u64),
    Chunked(Scanner),
    /// Until the connection closes.
    Close,
}

/// What some bytes were to a body. The first `body` of them are its own, the next `trailers` those of
/// its trailer section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) body: usize,
    pub(super) trailers: usize,
    /// How many of them are content.
    pub(super) content: u64,
    /// How many bytes of body were to come at least, with these.
    pub(super) expected: u64,
    pub(super) status: Status,
}

impl Body {
    /// The body behind a head; `None` when the message ends with its head.
    pub(super) fn new(framing: Framing, length: u64) -> Option<Self> {
        match framing {
            Framing::None => None,
            Framing::Length => (length > 0).then_some(Self::Length(length)),
            Framing::Chunked => Some(Self::Chunked(Scanner::default())),
            Framing::Close => Some(Self::Close),
        }
    }

    pub(super) fn take(&mut self, bytes: &[u8]) -> Taken {
        let all = bytes.len() as u64;
        let more =
            Taken { body: bytes.len(), trailers: 0, content: all, expected: all, status: Status::More };
        match self {
            Self::Close => more,
            Self::Length(left) => {
                let expected = *left;
                let body = usize::try_from(expected).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= body as u64;
                let status = if *left == 0 { Status::Complete } else { Status::More };
                Taken { body, content: body as u64, expected, status, ..more }
            }
            Self::Chunked(scanner) => {
                let before = scanner.content_bytes();
                let scanned = scanner.scan(bytes);
                Taken {
                    body: scanned.body,
                    trailers: scanned.trailers,
                    content: scanner.content_bytes() - before,
                    expected: scanned.body as u64,
                    status: scanned.status,
                }
            }
        }
    }
}
