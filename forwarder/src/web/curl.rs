//! Pure. A request as a curl command that can be pasted into a shell, whatever its bytes are.

use std::fmt::Write as _;

use common::exchange::Framing;

use crate::rrpair::content;
use crate::store::{head, row::Row};

/// A longer body is not for pasting: it is to be downloaded first.
const MOST_BODY_BYTES: usize = 16 << 10;

/// Fields that curl works out by itself.
const OWN: [&str; 5] = ["content-length", "transfer-encoding", "connection", "expect", "host"];

/// The command, and what must be done before it. `None` when the exchange is not HTTP.
pub(super) fn command(row: &Row) -> Option<(String, Option<&'static str>)> {
    if row.protocol != "http" {
        return None;
    }
    let line = head::request_line(&row.request.head);
    let (_, path, query) = head::target_parts(&line.target);
    let url = crate::rrpair::url(row.host.as_deref().unwrap_or_default(), path, query);
    let mut text = "curl".to_owned();
    // Neither `[1-9]` nor `..` in a captured path may mean anything to curl.
    if url.contains(['[', ']', '{', '}']) {
        text.push_str(" --globoff");
    }
    if url.contains("/.") {
        text.push_str(" --path-as-is");
    }
    match &*line.method {
        "GET" => {}
        "HEAD" => text.push_str(" --head"),
        method => write!(text, " -X {}", quote(method.as_bytes())).ok().unwrap_or_default(),
    }
    if line.version == "HTTP/1.0" {
        text.push_str(" --http1.0");
    }
    write!(text, " {}", quote(url.as_bytes())).ok();
    for (name, value) in head::fields(&row.request.head) {
        let own = OWN.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()));
        // curl reads a file for `@`, so a name must be one.
        if own || !is_token(name) || value.contains(&0) {
            continue;
        }
        let separator: &[u8] = if value.is_empty() { b";" } else { b": " };
        write!(text, " \\\n  -H {}", quote(&[name, separator, value].concat())).ok();
    }
    let body = content(&row.request);
    let told = row.request.framing != Framing::None.as_str() && row.request.body_bytes > 0;
    let mut first = None;
    if told && row.request.truncated {
        first = Some("The body is left out: only the start of it was kept.");
    } else if told && (body.len() > MOST_BODY_BYTES || body.contains(&0)) {
        text.push_str(" \\\n  --data-binary @request-body.bin");
        first = Some("Download the request body first, as request-body.bin.");
    } else if told {
        // Not --data-binary, which reads a file for a body that begins with `@`.
        write!(text, " \\\n  --data-raw {}", quote(&body)).ok();
        if line.method == "GET" {
            text.push_str(" -X GET");
        }
    }
    Some((text, first))
}

fn is_token(name: &[u8]) -> bool {
    let special = b"!#$%&'*+-.^_`|~";
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || special.contains(byte))
}

/// One word for the shell. Plain text stands between apostrophes; what a terminal would not show as it is
/// stands as escapes between `$'…'`, which bash, zsh and ksh read.
fn quote(bytes: &[u8]) -> String {
    let plain = std::str::from_utf8(bytes).ok().filter(|text| common::visible::line(bytes) == **text);
    if let Some(text) = plain {
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    let mut word = "$'".to_owned();
    for byte in bytes {
        match byte {
            b'\'' | b'\\' => word.extend(['\\', char::from(*byte)]),
            b'\n' => word.push_str("\\n"),
            b'\r' => word.push_str("\\r"),
            b'\t' => word.push_str("\\t"),
            0x20..0x7f => word.push(char::from(*byte)),
            // Always three octal digits: a digit behind them is not taken for one of theirs.
            _ => write!(word, "\\{byte:03o}").ok().unwrap_or_default(),
        }
    }
    word.push('\'');
    word
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::store::samples;

    #[test]
    fn words_are_quoted() {
        let check = |bytes: &[u8], expected: &str| assert_eq!(quote(bytes), expected);
        check(b"a b", "'a b'");
        check(b"", "''");
        check(b"it's; $(rm -rf /) `x` \"y\" \\", r#"'it'\''s; $(rm -rf /) `x` "y" \'"#);
        check(b"a\x1b]0;x\x07", r"$'a\033]0;x\007'");
        check(b"a'\\\nb\xff1", r"$'a\'\\\nb\3771'");
        check("\u{202e}".as_bytes(), r"$'\342\200\256'");
        check("ü".as_bytes(), "'ü'");
    }

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        let hostile: Vec<u8> = (1..=255).chain(*b"';$(echo x)`id`\\'\n1").collect();
        let script = format!("printf %s {}", quote(&hostile));
        let output = Command::new("bash").arg("-c").arg(script).env("LC_ALL", "C").output().unwrap();
        assert_eq!(output.stdout, hostile);
    }

    #[test]
    fn a_request_becomes_a_command() {
        let mut row = samples::rows("a", 1, 1..=1).remove(0);
        row.request.head =
            b"POST /../a[1]?b HTTP/1.1\r\nHost: h\r\nX: it's\r\n@/etc/passwd: x\r\nE:\r\nContent-Length: 5\r\n\r\n"
                .to_vec();
        row.host = Some("h".to_owned());
        row.request.body = b"@file".to_vec();
        row.request.body_bytes = 5;
        let expected = "curl --globoff --path-as-is -X 'POST' 'http://h/../a[1]?b' \\\n  -H 'X: it'\\''s' \\\n  -H 'E;' \\\n  --data-raw '@file'";
        assert_eq!(command(&row), Some((expected.to_owned(), None)));
        row.request.body = vec![0];
        let (text, first) = command(&row).unwrap();
        assert!(text.ends_with("--data-binary @request-body.bin") && first.is_some());
        row.request.truncated = true;
        assert!(!command(&row).unwrap().0.contains("--data"));
        row.protocol = "tcp".to_owned();
        assert_eq!(command(&row), None);
    }
}
