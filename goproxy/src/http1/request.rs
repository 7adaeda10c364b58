//! Pure. The request line (RFC 9112 §3), and what a request says about its answer.

use common::exchange::Finding;
use memchr::memchr;

use super::head::{StartLine, is_token};
use crate::findings::Findings;

/// The longest method that is taken for one.
const MAX_METHOD_BYTES: usize = 64;

/// A request line that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestLine {
    pub(super) method: Method,
    /// Where in the line the target begins, and how long it is.
    pub(super) target: (usize, usize),
    http10: bool,
}

/// The methods that decide how an answer ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Method {
    Head,
    Connect,
    #[default]
    Other,
}

impl StartLine for RequestLine {
    fn parse(line: &[u8], findings: &mut Findings) -> Option<Self> {
        let (method, rest) = line.split_at_checked(memchr(b' ', line)?)?;
        if !is_method(method) {
            return None;
        }
        let (target, version) = rest.split_at_checked(rest.len().checked_sub(b" HTTP/1.1".len())?)?;
        let target = target.strip_prefix(b" ").filter(|target| !target.is_empty())?;
        let http10 = is_http10(version.strip_prefix(b" ")?)?;
        if target.iter().any(|byte| matches!(byte, 0..=b' ' | 0x7f)) {
            findings.add(Finding::BadTarget);
        }
        let method_bytes = method.len();
        let method = match method {
            b"HEAD" => Method::Head,
            b"CONNECT" => Method::Connect,
            _ => Method::Other,
        };
        Some(Self { method, target: (method_bytes + 1, target.len()), http10 })
    }

    fn plausible(start: &[u8]) -> bool {
        match memchr(b' ', start) {
            Some(end) => start.get(..end).is_some_and(is_method),
            None => start.len() <= MAX_METHOD_BYTES && start.iter().copied().all(is_token),
        }
    }

    fn is_http10(self) -> bool {
        self.http10
    }
}

fn is_method(name: &[u8]) -> bool {
    (1..=MAX_METHOD_BYTES).contains(&name.len()) && name.iter().copied().all(is_token)
}

/// Whether this is a version below 1.1; `None` when it is no version (RFC 9112 §2.3).
pub(super) fn is_http10(version: &[u8]) -> Option<bool> {
    match version {
        b"HTTP/1.1" => Some(false),
        [b'H', b'T', b'T', b'P', b'/', major @ b'0'..=b'9', b'.', minor @ b'0'..=b'9'] => {
            Some((*major, *minor) < (b'1', b'1'))
        }
        _ => None,
    }
}

/// What must be known of a request to follow its answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) upgrade: bool,
    pub(super) websocket: bool,
}

impl Asked {
    /// Whether the meaning of what the client sends next depends on the answer.
    pub(super) fn may_switch(self) -> bool {
        self.upgrade || self.method == Method::Connect
    }
}
