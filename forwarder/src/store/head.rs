//! Pure. What a query wants to know of a raw HTTP/1 head; lenient, because what was odd is told in the findings.

use std::borrow::Cow;

/// The start line of a request, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RequestLine<'a> {
    /// The method.
    pub method: Cow<'a, str>,
    /// The request target as it stood there.
    pub target: Cow<'a, str>,
    /// `HTTP/1.1`, or empty.
    pub version: Cow<'a, str>,
}

/// The start line of a response, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct StatusLine<'a> {
    /// `HTTP/1.1`.
    pub version: Cow<'a, str>,
    /// The status code, if it is a number of three digits.
    pub status: Option<u16>,
    /// The reason phrase.
    pub reason: Cow<'a, str>,
}

/// What stands between the line feeds.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(head);
    std::iter::from_fn(move || {
        let all = rest?;
        let line = memchr::memchr(b'\n', all).and_then(|end| all.split_at_checked(end));
        rest = line.and_then(|(_, behind)| behind.get(1..));
        Some(line.map_or(all, |(line, _)| line))
    })
}

fn first_line(head: &[u8]) -> &[u8] {
    let line = lines(head).next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The start line of a request; empty parts where there is none.
pub fn request_line(head: &[u8]) -> RequestLine<'_> {
    let mut words = first_line(head).splitn(2, |byte| *byte == b' ');
    let method = words.next().unwrap_or_default();
    let rest = words.next().unwrap_or_default();
    let (target, version) = match memchr::memrchr(b' ', rest) {
        Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at + 1..).unwrap_or_default()),
        None => (rest, &[][..]),
    };
    RequestLine {
        method: String::from_utf8_lossy(method),
        target: String::from_utf8_lossy(target),
        version: String::from_utf8_lossy(version),
    }
}

/// The start line of a response; empty parts where there is none.
pub fn status_line(head: &[u8]) -> StatusLine<'_> {
    let mut words = first_line(head).splitn(3, |byte| *byte == b' ');
    let version = words.next().unwrap_or_default();
    let code = words.next().unwrap_or_default();
    StatusLine {
        version: String::from_utf8_lossy(version),
        status: parse_code(code),
        reason: String::from_utf8_lossy(words.next().unwrap_or_default()),
    }
}

/// The status code alone, as [`status_line`] tells it.
pub fn status(head: &[u8]) -> Option<u16> {
    parse_code(first_line(head).split(|byte| *byte == b' ').nth(1)?)
}

fn parse_code(code: &[u8]) -> Option<u16> {
    let [hundreds, tens, ones] = code else { return None };
    [hundreds, tens, ones]
        .into_iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u16::from(digit - b'0')))
}

/// The field lines of a head in order: name and value, without the white space around them.
pub fn fields(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines(head).skip(1).filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = line.split_at(colon);
        Some((name.trim_ascii(), value.get(1..).unwrap_or_default().trim_ascii()))
    })
}

/// The first value of a field.
pub fn field<'a>(head: &'a [u8], wanted: &str) -> Option<Cow<'a, str>> {
    lines(head).skip(1).find_map(|line| {
        let (name, behind) = line.split_at_checked(wanted.len())?;
        let value = name.eq_ignore_ascii_case(wanted.as_bytes()).then(|| behind.trim_ascii_start())?;
        Some(String::from_utf8_lossy(value.strip_prefix(b":")?.trim_ascii()))
    })
}

/// A request target (RFC 9112 §3.2) as host, path and query; the host only if the target has one.
pub fn target_parts(target: &str) -> (Option<&str>, &str, Option<&str>) {
    let (host, rest) = match target.split_once("://") {
        Some((scheme, rest))
            if !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
        {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (host, rest) = rest.split_at(end);
            (Some(host), rest)
        }
        _ => (None, target),
    };
    match rest.split_once('?') {
        Some((path, query)) => (host, path, Some(query)),
        None => (host, rest, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_lines_are_taken_apart() {
        let line = request_line(b"GET /a b?c HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!((&*line.method, &*line.target, &*line.version), ("GET", "/a b?c", "HTTP/1.1"));
        let line = status_line(b"HTTP/1.1 404 Not Found\r\n\r\n");
        assert_eq!((line.status, &*line.reason), (Some(404), "Not Found"));
        assert_eq!(status_line(b"HTTP/1.1 4x4 No\r\n").status, None);
        assert_eq!(status(b"HTTP/1.1 404 Not Found\r\n\r\n"), Some(404));
        assert_eq!(status(b"HTTP/1.1 404\r\n\r\n"), Some(404));
        assert_eq!([&b"HTTP/1.1 4x4 No\r\n"[..], b"HTTP/1.1 0404 No", b"404", b""].map(status), [None; 4]);
        assert_eq!(request_line(b""), RequestLine::default());
    }

    #[test]
    fn fields_are_found_whatever_their_case() {
        let head = b"GET / HTTP/1.1\r\nX: 1\r\nHosts: y\r\nhOsT :  example.com \r\nno colon\r\n\r\n";
        assert_eq!(field(head, "Host").as_deref(), Some("example.com"));
        assert_eq!(field(head, "GET / HTTP/1.1"), None);
        assert_eq!(field(head, "no colon"), None);
        assert_eq!(fields(head).count(), 3);
    }

    #[test]
    fn targets_have_parts() {
        assert_eq!(target_parts("/a?b=://c"), (None, "/a", Some("b=://c")));
        assert_eq!(target_parts("http://h:1/a?b"), (Some("h:1"), "/a", Some("b")));
        assert_eq!(target_parts("*"), (None, "*", None));
    }
}
