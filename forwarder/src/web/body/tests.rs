//! Bodies of every kind.

use super::*;

fn side(content_type: &str, body: &[u8]) -> Side {
    let length = i64::try_from(body.len()).unwrap();
    Side {
        head: b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
        framing: "length".to_owned(),
        body: body.to_vec(),
        body_bytes: length,
        wire_bytes: length,
        content_type: Some(content_type.to_owned()).filter(|told| !told.is_empty()),
        ..Side::default()
    }
}

fn text(shown: &Body) -> &str {
    match &shown.content {
        Content::Text(text) | Content::Dump(text) => text,
        Content::Nothing | Content::Form(_) => "",
    }
}

#[test]
fn a_body_is_laid_out_by_its_type() {
    let check = |content_type: &str, bytes: &[u8], kind: &str, expected: &str| {
        let shown = body(&side(content_type, bytes), false);
        assert_eq!((shown.kind.as_str(), text(&shown)), (kind, expected), "{content_type}");
    };
    check("application/json", b"{\"a\":1.50}", "JSON, application/json", "{\n  \"a\": 1.50\n}");
    check(
        "application/problem+json; charset=utf-8",
        b"[]",
        "JSON, application/problem+json; charset=utf-8",
        "[]",
    );
    check("application/json", b"{oops", "Text, application/json", "{oops");
    check("text/html", b"<script>alert(1)</script>", "HTML source, text/html", "<script>alert(1)</script>");
    check("image/svg+xml", b"<svg/>", "XML, image/svg+xml", "<svg/>");
    check("", b"hello\n", "Text, no Content-Type", "hello\n");
    check("text/plain", b"caf\xe9 au lait", "Text, text/plain", "caf⟨E9⟩ au lait");
    check("application/json", b"\x00\x01", "Binary, application/json", &hex::dump(&[0, 1]));
    check("", b"", "", "");
}

#[test]
fn forms_are_fields() {
    let shown = body(&side("application/x-www-form-urlencoded", b"a=1&b=%3Cb%3E+x&a=%00"), false);
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(shown.content, Content::Form(vec![field("a", "1"), field("b", "<b> x"), field("a", "⟨00⟩")]));
}

/// A body with a coding, as a service sends it.
fn coded(content_type: &str, coding: &str, body: &[u8]) -> Side {
    let mut side = side(content_type, body);
    side.head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n\r\n").into_bytes();
    side
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_content_coding_is_undone_and_told() {
    let shown = body(&coded("application/json", "gzip", &gzip(b"{\"a\":1}")), false);
    assert_eq!((shown.kind.as_str(), text(&shown)), ("JSON, application/json", "{\n  \"a\": 1\n}"));
    assert_eq!(shown.notes, ["It came as gzip, 27 B; it is shown decoded, 7 B."]);

    let mut cut = coded("text/plain", "gzip", &gzip(&b"hello ".repeat(5_000)));
    cut.body.truncate(60);
    let shown = body(&cut, false);
    assert!(text(&shown).starts_with("hello hello "), "{shown:?}");
    assert!(shown.notes[0].contains("damaged"), "{:?}", shown.notes);
    cut.truncated = true;
    let shown = body(&cut, false);
    assert!(
        shown.notes.iter().any(|note| note.contains("what was kept of it is shown decoded")),
        "{shown:?}"
    );
}

#[test]
fn a_coding_that_cannot_be_undone_is_told() {
    for (coding, bytes) in [("gzip", &b"\x1f\x8b\x08"[..]), ("<b>", b"x"), ("compress", b"x")] {
        let shown = body(&coded("text/html", coding, bytes), false);
        assert_eq!(shown.content, Content::Dump(hex::dump(bytes)));
        assert!(shown.notes.iter().any(|note| note.contains(coding)), "{:?}", shown.notes);
    }
    assert_eq!(body(&coded("text/html", "gzip", b""), false).content, Content::Nothing);
}

#[test]
fn what_was_cut_short_says_so_with_true_sizes() {
    let mut cut = side("application/json", "{\"a\":\"é".as_bytes().split_last().unwrap().1);
    cut.truncated = true;
    cut.wire_bytes = 5000;
    cut.body_bytes = 5000;
    let shown = body(&cut, false);
    assert_eq!(text(&shown), "{\n  \"a\": \"");
    assert_eq!(
        shown.notes,
        ["Cut short by CAPTURE_BODY_LIMIT: the first 7 B of 4.9 KiB (5,000 bytes) were kept."]
    );
    cut.body.clear();
    assert_eq!(body(&cut, false).notes.len(), 2);
}

#[test]
fn huge_bodies_are_bounded() {
    for (content_type, byte) in [
        ("text/plain", b'x'),
        ("application/json", b'['),
        ("", 0),
        ("application/x-www-form-urlencoded", b'&'),
    ] {
        let huge = side(content_type, &vec![byte; 1 << 20]);
        let shown = body(&huge, false);
        assert!(text(&shown).len() < 128 << 10, "{content_type}: {}", text(&shown).len());
        assert_eq!(shown.has_more, byte != b'&', "{content_type}");
    }
    assert!(!body(&side("text/plain", &vec![b'x'; 1 << 20]), true).has_more);
}
