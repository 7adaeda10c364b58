//! The chunked coding, whole and split anywhere.

use proptest::prelude::*;

use super::{Scanned, Scanner, Status, content, content_ranges};

/// Scans whole and byte by byte, and says what both agree on.
fn check(raw: &[u8], body: usize, trailers: usize, status: Status, kept: &[u8]) -> Scanner {
    let mut whole = Scanner::default();
    let scanned = whole.scan(raw);
    assert_eq!(scanned, Scanned { body, trailers, status }, "{:?}", raw.escape_ascii().to_string());
    assert_eq!(&*content(raw), kept, "{:?}", raw.escape_ascii().to_string());
    let pieces: Vec<u8> = content_ranges(raw).into_iter().flat_map(|range| raw[range].to_vec()).collect();
    assert_eq!(pieces, kept, "{:?}", raw.escape_ascii().to_string());
    assert_eq!(whole.content_bytes(), kept.len() as u64);
    let mut single = Scanner::default();
    let mut sum = Scanned { body: 0, trailers: 0, status: Status::More };
    for byte in raw {
        let scanned = single.scan(std::slice::from_ref(byte));
        sum.body += scanned.body;
        sum.trailers += scanned.trailers;
        sum.status = scanned.status;
        if sum.status != Status::More {
            break;
        }
    }
    assert_eq!(sum, scanned, "byte by byte {:?}", raw.escape_ascii().to_string());
    assert_eq!(single.bare_lf(), whole.bare_lf());
    assert_eq!(single.control_byte(), whole.control_byte());
    whole
}

#[test]
fn a_chunked_body_ends_behind_its_trailer_section() {
    let clean = |raw: &[u8], body, trailers, status, kept: &[u8]| {
        let scanner = check(raw, body, trailers, status, kept);
        assert!(!scanner.bare_lf() && !scanner.control_byte(), "{:?}", raw.escape_ascii().to_string());
    };
    clean(b"0\r\n\r\n", 3, 2, Status::Complete, b"");
    clean(b"5\r\nhello\r\n0\r\n\r\nGET", 13, 2, Status::Complete, b"hello");
    clean(b"3\r\nabc\r\n2;x=\"y\"\r\nde\r\n000\r\n\r\n", 26, 2, Status::Complete, b"abcde");
    clean(b"A \t\r\n0123456789\r\n0\r\nA: b\r\nC: d\r\n\r\n", 20, 14, Status::Complete, b"0123456789");
    clean(b"a;\r\n0123", 8, 0, Status::More, b"0123");
    clean(b"1\r\na\r\n0\r\nA: b\r\n", 9, 6, Status::More, b"a");
    clean(b"", 0, 0, Status::More, b"");
}

#[test]
fn what_is_not_the_coding_is_bad_from_the_very_byte() {
    for (raw, good, kept) in [
        (&b"\r\n"[..], 0, &b""[..]),
        (b"x", 0, b""),
        (b"-1\r\n", 0, b""),
        (b"0x5\r\nhello", 1, b""),
        (b"5 5\r\n", 2, b""),
        (b"5\rx", 2, b""),
        (b"5\r\nhelloX", 8, b"hello"),
        (b"5\r\nhello\rX", 9, b"hello"),
        (b"5\r\nhello\r\n;x", 10, b"hello"),
        (b"10000000000000000\r\n", 16, b""),
        (b"fffffffffffffffff\r\n", 16, b""),
    ] {
        check(raw, good, 0, Status::Bad, kept);
    }
    check(b"ffffffffffffffff\r\nabc", 21, 0, Status::More, b"abc");
    check(b"00000000000000000000000000000001\r\na\r\n0\r\n\r\n", 40, 2, Status::Complete, b"a");
}

#[test]
fn sloppy_line_ends_are_followed_and_told() {
    for raw in [
        &b"1\na\r\n0\r\n\r\n"[..],
        b"1\r\na\n0\r\n\r\n",
        b"1;x\na\r\n0\r\n\r\n",
        b"1\r\na\r\n0\n\r\n",
        b"1\r\na\r\n0\r\n\n",
        b"1\r\na\r\n0\r\nA: b\n\r\n",
    ] {
        let mut scanner = Scanner::default();
        assert_eq!(scanner.scan(raw).status, Status::Complete, "{:?}", raw.escape_ascii().to_string());
        assert!(scanner.bare_lf(), "{:?}", raw.escape_ascii().to_string());
        assert_eq!(&*content(raw), b"a");
    }
    for raw in [&b"1;a\rb\r\na\r\n0\r\n\r\n"[..], b"1;\r\r\na\r\n0\r\n\r\n", b"1\r\na\r\n0\r\n\rA: b\r\n\r\n"]
    {
        let mut scanner = Scanner::default();
        assert_eq!(scanner.scan(raw).status, Status::Complete, "{:?}", raw.escape_ascii().to_string());
        assert!(scanner.control_byte() && !scanner.bare_lf(), "{:?}", raw.escape_ascii().to_string());
    }
}

#[test]
fn a_body_of_one_chunk_is_borrowed() {
    assert!(matches!(content(b"5\r\nhello\r\n0\r\n"), std::borrow::Cow::Borrowed(b"hello")));
}

proptest! {
    #[test]
    fn any_content_comes_back_from_any_chunks(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
        split in any::<prop::sample::Index>(),
    ) {
        let mut raw = Vec::new();
        for chunk in &chunks {
            raw.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            raw.extend_from_slice(chunk);
            raw.extend_from_slice(b"\r\n");
        }
        raw.extend_from_slice(b"0\r\n");
        let body = raw.len();
        raw.extend_from_slice(b"\r\n");
        prop_assert_eq!(content(&raw).into_owned(), chunks.concat());
        let (first, second) = raw.split_at(split.index(raw.len() + 1));
        let mut scanner = Scanner::default();
        let (first, second) = (scanner.scan(first), scanner.scan(second));
        prop_assert_eq!(first.body + second.body, body);
        prop_assert_eq!(first.trailers + second.trailers, 2);
    }

    #[test]
    fn any_bytes_are_scanned_alike_however_split(raw in prop::collection::vec(
        prop_oneof![any::<u8>(), prop::sample::select(&b"0123;a\r\n\r\n\r\n"[..])], 0..60)) {
        super::super::attack::chunked(&raw);
    }
}
