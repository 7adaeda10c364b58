//! A secret is gone whatever it stands in, and nothing else is.

use std::io::Write as _;

use common::exchange::{End, Framing, Protocol};
use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use proptest::prelude::*;

use super::*;

const CANARY: &str = "c4n4ry-s3cret-v4lue-of-rather-some-length";

fn redactor() -> Redactor {
    Redactor {
        key: Key::of(&"a key for tests only".into()),
        headers: Names::new(["authorization", "cookie", "token", "api-key"]),
        fields: Names::new(["password", "token", "pin", "secret"]),
        keep_unreadable: false,
    }
}

fn message(head: &str, framing: Framing, body: &[u8]) -> Message {
    Message {
        head: Bytes::copy_from_slice(head.as_bytes()),
        head_bytes: head.len() as u64,
        framing,
        body: Bytes::copy_from_slice(body),
        body_bytes: body.len() as u64,
        wire_bytes: body.len() as u64,
        ..Message::default()
    }
}

fn exchange(request: Message) -> Exchange {
    Exchange {
        index: 0,
        protocol: Protocol::Http1,
        request,
        response: None,
        informational: Vec::new(),
        end: End::Complete,
        findings: Vec::new(),
    }
}

/// Redacts a request, checks what holds for every one, and returns its head and body.
fn redact(head: &str, framing: Framing, body: &[u8]) -> (String, Vec<u8>) {
    let before = exchange(message(head, framing, body));
    let mut after = before.clone();
    let found = redactor().redact(&mut after);
    assert_eq!(after.request.head.len(), before.request.head.len());
    assert_eq!(after.request.body.len(), before.request.body.len());
    assert_eq!(found, after.request != before.request, "{head:?}");
    assert_eq!(found, after.findings == [Finding::Redacted]);
    (String::from_utf8(after.request.head.to_vec()).unwrap(), after.request.body.to_vec())
}

fn contains(bytes: &[u8], part: &str) -> bool {
    memchr::memmem::find(bytes, part.as_bytes()).is_some()
}

#[test]
fn credentials_in_heads_are_gone_and_the_rest_stays() {
    for (head, stays) in [
        (
            format!("GET / HTTP/1.1\r\nAuthorization: Bearer {CANARY}\r\nHost: shop\r\n\r\n"),
            "Authorization: Bearer REDACTED-HEADER-",
        ),
        (format!("GET / HTTP/1.1\r\nauthorization:{CANARY}\r\n\r\n"), "authorization:REDACTED-HEADER-"),
        (
            format!("GET / HTTP/1.1\r\nProxy-Authorization: Basic {CANARY}"),
            "Proxy-Authorization: Basic REDACTED",
        ),
        (format!("GET / HTTP/1.1\r\nCookie: theme=dark; sid={CANARY}; x=\r\n\r\n"), "; x=\r\n"),
        (
            format!("HTTP/1.1 200 OK\r\nSet-Cookie: sid={CANARY}; Path=/; HttpOnly\r\n\r\n"),
            "; Path=/; HttpOnly\r\n",
        ),
        (format!("GET / HTTP/1.1\r\nX-Api-Key:\r\n {CANARY}\r\nHost: a\r\n\r\n"), "\r\nHost: a\r\n"),
        (format!("GET / HTTP/1.1\r\nX-Vault-Token : {CANARY}\r\n\r\n"), "X-Vault-Token : REDACTED"),
        (format!("GET /a?x=1&token={CANARY}&y=2 HTTP/1.1\r\n\r\n"), "GET /a?x=1&token=REDACTED-FIELD-"),
        (format!("GET /a?x=1&t%6Fken={CANARY} HTTP/1.1\r\n\r\n"), " HTTP/1.1\r\n"),
        (format!("\r\nGET http://joe:{CANARY}@shop/ HTTP/1.1\r\n\r\n"), "http://joe:REDACTED-FIELD-"),
        (
            format!("HTTP/1.1 302 Found\r\nLocation: https://a/cb#access_token={CANARY}&b=c\r\n\r\n"),
            "&b=c\r\n",
        ),
        (
            format!("GET / HTTP/1.1\r\nReferer: https://a/?pin=1&user[password]={CANARY}\r\n\r\n"),
            "?pin=*&user[password]=R",
        ),
    ] {
        let (after, _) = redact(&head, Framing::None, b"");
        assert!(!after.contains(CANARY), "{after}");
        assert!(after.contains(stays), "{after} lacks {stays}");
    }
}

#[test]
fn a_head_cut_short_and_trailers_and_interim_heads_hide_nothing() {
    let head = format!("POST / HTTP/1.1\r\nCookie: a={CANARY}");
    for length in 0..head.len() {
        let (after, _) = redact(head.get(..length).unwrap(), Framing::None, b"");
        assert!(!after.contains("c4n4ry"), "{after}");
    }
    let mut told = exchange(message("GET / HTTP/1.1\r\n\r\n", Framing::Chunked, b"0\r\n"));
    told.request.trailers = format!("X-Token: {CANARY}\r\n\r\n").into();
    told.informational = vec![format!("HTTP/1.1 103 Early Hints\r\nSet-Cookie: a={CANARY}\r\n\r\n").into()];
    assert!(redactor().redact(&mut told));
    assert!(!contains(&told.request.trailers, CANARY) && !contains(&told.informational[0], CANARY));
}

fn in_bodies() -> Vec<(&'static str, String)> {
    vec![
        ("application/json", format!(r#"{{"user":"joe","password":"{CANARY}","n":1}}"#)),
        ("application/json", format!(r#"[{{"deep":{{"db_pass\u0077ord" : "{CANARY}"}}}}]"#)),
        ("application/json", format!(r#"{{"token":{{"a":["{CANARY}",7]}},"n":1}}"#)),
        ("application/json", format!(r#"{{"payload":"{{\"password\":\"{CANARY}\"}}"}}"#)),
        ("application/json", format!(r#"{{"password":"{CANARY}"#)),
        ("text/plain", format!(r#"  {{"password":"{CANARY}"}}"#)),
        ("application/x-www-form-urlencoded", format!("user=joe&pass-word={CANARY}&n=1")),
        ("application/x-www-form-urlencoded; charset=utf-8", format!("password={CANARY}\r\n")),
        (
            "multipart/form-data; boundary=x",
            format!("--x\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n{CANARY}\r\n--x--\r\n"),
        ),
        ("text/xml", format!("<a><ns:Password type='x'>{CANARY}</ns:Password><b/></a>")),
        ("application/soap+xml", format!("<a><password><![CDATA[{CANARY}]]></password></a>")),
        ("text/html", format!("<input name='user' token=\"{CANARY}\">")),
        ("application/json", format!(r#"{{"id_token":"x","any":"eyJhbGci.eyJzdWIi.{CANARY}"}}"#)),
        ("text/plain", format!("-----BEGIN RSA PRIVATE KEY-----\n{CANARY}\n-----END RSA PRIVATE KEY-----\n")),
        ("application/octet-stream", format!("\0\0ghp_{}\0", CANARY.replace('-', "x"))),
    ]
}

fn head(media: &str, coding: &str) -> String {
    format!("POST / HTTP/1.1\r\nContent-Type: {media}\r\nContent-Encoding: {coding}\r\n\r\n")
}

#[test]
fn secrets_in_bodies_are_gone_in_every_form() {
    for (media, body) in in_bodies() {
        let (_, after) = redact(&head(media, "identity"), Framing::Length, body.as_bytes());
        let after = String::from_utf8(after).unwrap();
        let canary = if body.contains(CANARY) { CANARY } else { "c4n4ry" };
        assert!(!after.contains(canary), "{after}");
        assert!(media.contains("octet") || after.starts_with(body.chars().next().unwrap()), "{after}");
    }
}

#[test]
fn a_redacted_document_is_still_one() {
    let body = r#"{"pin":-12.5e3,"token":[true,null,"abc"],"user":"joe","password":"p"}"#;
    let (_, after) = redact(&head("application/json", ""), Framing::Length, body.as_bytes());
    let after = String::from_utf8(after).unwrap();
    assert_eq!(after, r#"{"pin":9999999,"token":[true,null,"***"],"user":"joe","password":"*"}"#);
}

#[test]
fn compressed_bodies_with_secrets_are_withheld_and_others_stay() {
    type Coder = fn(&[u8]) -> Vec<u8>;
    let coders: [(&str, Coder); 4] = [
        ("gzip", |plain| {
            let mut coder = GzEncoder::new(Vec::new(), Compression::default());
            coder.write_all(plain).unwrap();
            coder.finish().unwrap()
        }),
        ("deflate", |plain| {
            let mut coder = ZlibEncoder::new(Vec::new(), Compression::default());
            coder.write_all(plain).unwrap();
            coder.finish().unwrap()
        }),
        ("deflate", |plain| {
            let mut coder = DeflateEncoder::new(Vec::new(), Compression::default());
            coder.write_all(plain).unwrap();
            coder.finish().unwrap()
        }),
        ("br", <[u8]>::to_vec),
    ];
    for (coding, coder) in coders {
        for (media, body) in in_bodies() {
            let coded = coder(body.as_bytes());
            let (_, after) = redact(&head(media, coding), Framing::Length, &coded);
            assert!(after.starts_with(b"REDACTED-WITHHELD-"), "{coding} {body}");
            let oddly = head(media, coding).replace("Content-Encoding:", "CONTENT-encoding :\r\n\t");
            let (_, after) = redact(&oddly, Framing::Length, &coded);
            assert!(after.starts_with(b"REDACTED-WITHHELD-"), "{oddly} {body}");
            if coding == "gzip" {
                let (_, short) = redact(&head(media, coding), Framing::Length, &coded[..coded.len() - 9]);
                assert!(short.starts_with(b"REDACTED-WITHHELD-"), "{coding} {body}");
            }
        }
        let harmless = coder(br#"{"user":"joe"}"#);
        let (_, after) = redact(&head("application/json", coding), Framing::Length, &harmless);
        assert_eq!(after == harmless, coding != "br");
    }
}

#[test]
fn a_bomb_is_withheld_without_being_opened_to_its_end() {
    let mut coder = GzEncoder::new(Vec::new(), Compression::fast());
    coder.write_all(&vec![b' '; 32 << 20]).unwrap();
    let bomb = coder.finish().unwrap();
    let (_, after) = redact(&head("text/plain", "gzip"), Framing::Length, &bomb);
    assert!(after.starts_with(b"REDACTED-WITHHELD-"));
}

#[test]
fn harmless_content_is_not_touched() {
    for (media, body) in [
        (
            "application/json",
            r#"{"shipping":"x","max_tokens":7,"at":1700000000000000000,"id":"4111111111111112"}"#,
        ),
        (
            "application/json",
            r#"{"tokenizer":"a","pinned":true,"author":"joe","api.nasa.gov":"api.spacexdata.com"}"#,
        ),
        ("text/html", "<p>Your password: <b>not here</b></p>"),
        ("text/plain", "eyJ is how they begin; ghp_short; 4111 1111; -----BEGIN CERTIFICATE-----\nMIIB\n"),
        ("image/png", "\u{89}PNG password=4111111111111111"),
        ("application/x-www-form-urlencoded", "user=joe&pinned=1&token="),
    ] {
        let (after_head, after) = redact(&head(media, ""), Framing::Length, body.as_bytes());
        assert_eq!(String::from_utf8(after).unwrap(), body);
        assert_eq!(after_head, head(media, ""));
    }
}

#[test]
fn card_numbers_are_known_by_their_scheme_and_check_digit() {
    for card in [
        "4111111111111111",
        "4111 1111 1111 1111",
        "5500-0000-0000-0004",
        "378282246310005",
        "6011111111111117",
    ] {
        let body = format!(r#"{{"note":"paid with {card}."}}"#);
        let (_, after) = redact(&head("application/json", ""), Framing::Length, body.as_bytes());
        assert!(!contains(&after, card), "{card}");
    }
}

#[test]
fn equal_secrets_have_equal_tokens_under_one_key_only() {
    let token = |key: &str, secret: &str| {
        let mut bytes = secret.as_bytes().to_vec();
        let spot = Spot { range: 0..bytes.len(), category: Category::Field };
        mask::apply(&mut bytes, &[spot], &Key::of(&key.into()));
        String::from_utf8(bytes).unwrap()
    };
    assert_eq!(token("one", CANARY), token("one", CANARY));
    assert_ne!(token("one", CANARY), token("two", CANARY));
    let other = CANARY.to_uppercase();
    assert_ne!(token("one", CANARY), token("one", &other));
    assert_ne!(token("one", "hunter22"), token("one", "hunter23"), "short ones too");
    assert_eq!(token("one", "hunter2"), "*******", "unless nothing could be told apart");
    let whole = token("one", &"x".repeat(50));
    assert!(whole.starts_with("REDACTED-FIELD-") && whole.ends_with("***"), "{whole}");
}

fn chunked(content: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut raw = Vec::new();
    let mut rest = content;
    for cut in cuts {
        let (piece, behind) = rest.split_at(cut % (rest.len() + 1));
        if !piece.is_empty() {
            raw.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            raw.extend_from_slice(piece);
            raw.extend_from_slice(b"\r\n");
        }
        rest = behind;
    }
    raw.extend_from_slice(format!("{:x}\r\n", rest.len()).as_bytes());
    raw.extend_from_slice(rest);
    if !rest.is_empty() {
        raw.extend_from_slice(b"\r\n0\r\n");
    }
    raw
}

proptest! {
    #[test]
    fn chunks_cut_anywhere_hide_nothing_and_stay_chunks(which in 0..15_usize, cuts in prop::collection::vec(0..40_usize, 0..8)) {
        let (media, body) = in_bodies().swap_remove(which);
        let raw = chunked(body.as_bytes(), &cuts);
        let (_, after) = redact(&head(media, ""), Framing::Chunked, &raw);
        let (_, whole) = redact(&head(media, ""), Framing::Length, body.as_bytes());
        let ranges = common::chunked::content_ranges(&raw);
        prop_assert_eq!(&ranges, &common::chunked::content_ranges(&after));
        let hidden = |bytes: &[u8]| !contains(bytes, CANARY) && !contains(bytes, "c4n4ry-s3cret");
        prop_assert!(hidden(&common::chunked::content(&after)));
        prop_assert!(hidden(&whole));
    }

    #[test]
    fn any_bytes_keep_their_length(head in "[ -~\r\n]{0,80}", body in prop::collection::vec(any::<u8>(), 0..200), which in 0..4_usize) {
        let media = ["application/json", "text/xml", "multipart/form-data", "application/x-www-form-urlencoded"][which];
        let head = format!("GET /{head} HTTP/1.1\r\nContent-Type: {media}\r\n\r\n");
        for framing in [Framing::Length, Framing::Chunked] {
            redact(&head, framing, &body);
        }
    }
}

#[test]
fn what_stands_beside_a_type_does_not_hide_a_body() {
    let body = format!("{{\"name\":\"lamp\",\"password\":\"{CANARY}\"}}");
    let page = format!("<b>sorry</b><i token=\"{CANARY}\">");
    let types = [
        "text/plain;name=a.zip",
        "Application/JSON;charset=utf-8",
        "text/json; a=image/b",
        "application/hal+json",
    ];
    for (told, body) in types.map(|told| (told, &body)).into_iter().chain([("application/json", &page)]) {
        let head = format!("POST / HTTP/1.1\r\nContent-Type: {told}\r\n\r\n");
        let (_, redacted) = redact(&head, Framing::Length, body.as_bytes());
        assert!(!String::from_utf8(redacted).unwrap().contains(CANARY), "{told}");
    }
}
