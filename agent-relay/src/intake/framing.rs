//! Pure. Follows the framing of requests on a connection, beside the HTTP library: it drops a `Content-Length` that
//! comes with a `Transfer-Encoding` in silence, and such a request is refused here (RFC 9112, section 6.1).

use common::chunked::{Scanner, Status};

/// As much of a line is looked at: names and lengths are shorter.
const MOST_LINE_BYTES: usize = 256;

#[derive(Debug)]
enum State {
    /// In a head.
    Head(Head),
    /// In a body, with so many bytes to come.
    Body(u64),
    /// In a chunked body.
    Chunked(Box<Scanner>),
    /// Behind something that is not understood: the connection ends.
    Lost,
}

#[derive(Debug, Default)]
struct Head {
    line: Vec<u8>,
    has_begun: bool,
    length: Option<u64>,
    is_chunked: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Framing {
    state: State,
    heads: u64,
    bad: Option<u64>,
}

impl Default for Framing {
    fn default() -> Self {
        Self { state: State::Head(Head::default()), heads: 0, bad: None }
    }
}

impl Framing {
    /// Whether a head has begun and is not at its end.
    pub(super) fn is_in_head(&self) -> bool {
        matches!(&self.state, State::Head(head) if head.has_begun)
    }

    /// Whether the framing of this request, counted from 1, is bad.
    pub(super) fn is_bad(&self, request: u64) -> bool {
        self.bad.is_some_and(|bad| bad <= request)
    }

    /// These bytes came.
    pub(super) fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match &mut self.state {
                State::Lost => return,
                State::Body(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= taken as u64;
                    if *left == 0 {
                        self.state = State::Head(Head::default());
                    }
                    bytes.get(taken..).unwrap_or_default()
                }
                State::Chunked(scanner) => {
                    let scanned = scanner.scan(bytes);
                    if scanned.status == Status::Bad || scanner.bare_lf() || scanner.control_byte() {
                        self.lose();
                        return;
                    }
                    if scanned.status == Status::Complete {
                        self.state = State::Head(Head::default());
                    }
                    bytes.get(scanned.body + scanned.trailers..).unwrap_or_default()
                }
                State::Head(head) => {
                    let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
                    let (part, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
                    let room = MOST_LINE_BYTES.saturating_sub(head.line.len());
                    head.line.extend_from_slice(part.get(..part.len().min(room)).unwrap_or_default());
                    if part.ends_with(b"\n") {
                        self.end_line();
                    } else {
                        // A CR alone may be the beginning of an empty line.
                        head.has_begun |= head.line != b"\r";
                    }
                    rest
                }
            };
        }
    }

    /// The request whose head came last is bad, and what follows is not understood.
    fn lose(&mut self) {
        self.bad.get_or_insert(self.heads.max(1));
        self.state = State::Lost;
    }

    fn end_line(&mut self) {
        let State::Head(head) = &mut self.state else { return };
        let line = std::mem::take(&mut head.line);
        let line = line.trim_ascii_end();
        if line.is_empty() && !head.has_begun {
            // Empty lines before a request are let pass.
            return;
        }
        head.has_begun = true;
        if !line.is_empty() {
            return self.field(line);
        }
        let (length, is_chunked) = (head.length, head.is_chunked);
        self.heads += 1;
        match (length, is_chunked) {
            (Some(_), true) => self.lose(),
            (None, true) => self.state = State::Chunked(Box::default()),
            (None | Some(0), false) => self.state = State::Head(Head::default()),
            (Some(length), false) => self.state = State::Body(length),
        }
    }

    fn field(&mut self, line: &[u8]) {
        let State::Head(head) = &mut self.state else { return };
        let Some(colon) = memchr::memchr(b':', line) else { return };
        let (name, value) = line.split_at_checked(colon).unwrap_or_default();
        let name = name.trim_ascii();
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            head.is_chunked = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            let told = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            match (told, head.length) {
                (Some(told), None) => head.length = Some(told),
                (Some(told), Some(known)) if told == known => {}
                _ => {
                    // Counted as the head that it stands in, which is not at its end yet.
                    self.heads += 1;
                    self.lose();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first bad request, however the bytes are split.
    fn bad(bytes: &[u8]) -> Option<u64> {
        let mut whole = Framing::default();
        whole.see(bytes);
        for size in 1..9 {
            let mut split = Framing::default();
            bytes.chunks(size).for_each(|part| split.see(part));
            assert_eq!(
                (split.bad, split.is_in_head()),
                (whole.bad, whole.is_in_head()),
                "in parts of {size}"
            );
        }
        whole.bad
    }

    #[test]
    fn a_request_that_says_two_lengths_is_bad_wherever_it_stands() {
        let check = |bytes: &[u8], expected| assert_eq!(bad(bytes), expected, "{}", bytes.escape_ascii());
        let good = b"POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\n\r\n\r\nx";
        let chunked = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        let both = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n";
        let turned = b"POST /a HTTP/1.1\ncontent-length : 5\ntransfer-encoding:chunked\n\n";
        check(good, None);
        check(chunked, None);
        check(both, Some(1));
        check(turned, Some(1));
        check(&[&good[..], chunked, b"GET / HTTP/1.1\r\n\r\n\r\n", both].concat(), Some(4));
        check(b"POST /a HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", Some(1));
        check(b"POST /a HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nabcde", None);
        check(b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n", Some(1));
        let long = format!("GET / HTTP/1.1\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(1000));
        check(long.as_bytes(), None);
    }

    #[test]
    fn it_is_known_whether_a_head_is_on_its_way() {
        let mut framing = Framing::default();
        for (bytes, expected) in [
            (&b""[..], false),
            (b"\r\n", false),
            (b"P", true),
            (b"OST / HTTP/1.1\r\nContent-Length: 2\r\n", true),
            (b"\r\n", false),
            (b"ab", false),
            (b"G", true),
        ] {
            framing.see(bytes);
            assert_eq!(framing.is_in_head(), expected, "{}", bytes.escape_ascii());
        }
    }
}
