//! Private: a secret that passes goproxy reaches the other side, and neither the wire to the forwarder,
//! nor its disk, nor its pages, nor any log.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use tests::{
    capture::{Forwarder, Goproxy},
    http, peer,
};

const CANARY: &str = "c4n4ry-that-nobody-may-ever-see-in-the-clear";

fn conversations() -> Vec<(String, String)> {
    let json = format!(r#"{{"user":"joe","password":"{CANARY}"}}"#);
    let long = format!(r#"{{"filler":"{}","api_key":"{CANARY}"}}"#, "x".repeat(200_000));
    let (half, rest) = json.split_at(json.len() / 2);
    let chunks =
        format!("{:x}\r\n{half}\r\n{:x}\r\n{rest}\r\n0\r\nX-Token: {CANARY}\r\n\r\n", half.len(), rest.len());
    let form = format!("user=joe&password={CANARY}");
    let with_length = |start: &str, media: &str, body: &str| {
        format!("{start}\r\nContent-Type: {media}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    vec![
        (
            format!(
                "GET /a?access_token={CANARY}&page=2 HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {CANARY}\r\n\r\n"
            ),
            format!(
                "HTTP/1.1 302 Found\r\nSet-Cookie: sid={CANARY}; Path=/\r\nLocation: /b?token={CANARY}\r\nContent-Length: 0\r\n\r\n"
            ),
        ),
        (
            with_length("POST /login HTTP/1.1\r\nHost: shop", "application/json", &json),
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
            ),
        ),
        (
            with_length("POST /form HTTP/1.1\r\nHost: shop", "application/x-www-form-urlencoded", &form),
            with_length("HTTP/1.1 200 OK", "application/json", &long),
        ),
    ]
}

/// Passes what goproxy and forwarder say to each other on, and remembers it.
fn wiretap(forwarder_port: u16) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heard);
    let address = peer::serve(move |proxy| {
        let forwarder = TcpStream::connect(("127.0.0.1", forwarder_port)).unwrap();
        let back = (forwarder.try_clone().unwrap(), proxy.try_clone().unwrap());
        thread::spawn(move || pass(back.0, back.1, &Mutex::default()));
        pass(proxy, forwarder, &log);
    });
    (address.port(), heard)
}

fn pass(mut from: TcpStream, mut to: TcpStream, log: &Mutex<Vec<u8>>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        log.lock().unwrap().extend_from_slice(&buffer[..length]);
        if to.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
    to.shutdown(Shutdown::Write).ok();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn holds(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|window| window == part.as_bytes())
}

fn say(text: &str, from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(text.as_bytes()).unwrap();
    let mut passed = vec![0; text.len()];
    to.read_exact(&mut passed).unwrap();
    assert!(passed == text.as_bytes(), "what passes is not touched");
}

#[test]
fn secrets_pass_and_are_kept_nowhere() {
    let (listener, origin) = peer::listen();
    let forwarder = Forwarder::start(&[("LOG_LEVEL", "debug")]);
    let (wire, heard) = wiretap(forwarder.port);
    let key = [("LOG_LEVEL", "debug"), ("REDACT_KEY", "a key that is long enough")];
    let proxy = Goproxy::start("p", origin, wire, &key);
    let mut client = peer::connect(proxy.port);
    let (mut server, _) = listener.accept().unwrap();
    for (request, response) in conversations() {
        say(&request, &mut client, &mut server);
        say(&response, &mut server, &mut client);
    }
    forwarder.settled("p", 3);
    assert_eq!(proxy.metric("goproxy_exchanges_redacted_total"), 3);

    // What a reader gets has every byte that was no secret.
    let pairs = http::get(forwarder.analyzer, "/api/v1/pairs");
    for kept in ["REDACTED-HEADER-", "REDACTED-COOKIE-", "REDACTED-FIELD-", "joe", "page=2", "\"redacted\""] {
        assert!(pairs.contains(kept), "{kept} is not in {pairs}");
    }
    let places = [
        ("the API", pairs.into_bytes()),
        ("the page", http::get(forwarder.analyzer, "/").into_bytes()),
        ("the wire", heard.lock().unwrap().clone()),
        ("a log", proxy.daemon.lines().join("\n").into_bytes()),
        ("a log", forwarder.daemon.as_ref().unwrap().lines().join("\n").into_bytes()),
    ];
    assert!(holds(&places[2].1, "/login"), "the wire was not listened to");
    for (place, bytes) in &places {
        assert!(!holds(bytes, "c4n4ry"), "a secret is in {place}");
    }
    let stored = files(forwarder.data.path());
    assert!(
        stored.iter().any(|path| holds(&fs::read(path).unwrap(), "/login")),
        "the disk was not looked at"
    );
    for path in stored {
        assert!(!holds(&fs::read(&path).unwrap(), "c4n4ry"), "a secret is in {}", path.display());
    }
}
