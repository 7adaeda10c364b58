//! Transparent and exact: awkward HTTP/1.1 conversations pass a real goproxy byte for byte, and what
//! the forwarder kept of them, put together again, is byte for byte what client and server saw.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    path::Path,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;
use tests::{
    capture::{Forwarder, Goproxy},
    peer,
    wait::{PATIENCE, wait_for},
};

#[path = "../../goproxy/tests/corpus/text.rs"]
mod text;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

enum Event {
    Bytes(Side, Vec<u8>),
    End(Side),
}

struct Conversation {
    name: String,
    events: Vec<Event>,
    exchanges: usize,
}

impl Conversation {
    fn read(path: &Path) -> Self {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut conversation = Self { name, events: Vec::new(), exchanges: 0 };
        for line in fs::read_to_string(path).unwrap().lines() {
            let Some(first) = line.chars().next() else { continue };
            let rest = &line[1..];
            let side = if first == '>' { Side::Client } else { Side::Server };
            match first {
                '=' => conversation.exchanges += text::repeated(rest).unwrap().0,
                '>' | '<' if rest == "." => conversation.events.push(Event::End(side)),
                '>' | '<' => {
                    let (times, text) = text::repeated(rest).unwrap();
                    conversation.events.push(Event::Bytes(side, text::unescape(text).unwrap().repeat(times)));
                }
                _ => {}
            }
        }
        conversation
    }

    /// All that one side sends.
    fn sent(&self, by: Side) -> Vec<u8> {
        let bytes = self.events.iter().filter_map(|event| match event {
            Event::Bytes(side, bytes) if *side == by => Some(bytes.as_slice()),
            _ => None,
        });
        bytes.collect::<Vec<_>>().concat()
    }

    /// Says everything in pieces of this size, and checks that the other side hears just that.
    fn play(&self, client: &mut TcpStream, server: &mut TcpStream, piece: usize) {
        for event in &self.events {
            match event {
                Event::Bytes(Side::Client, bytes) => say(bytes, client, server, piece, &self.name),
                Event::Bytes(Side::Server, bytes) => say(bytes, server, client, piece, &self.name),
                Event::End(Side::Client) => end(client, server, &self.name),
                Event::End(Side::Server) => end(server, client, &self.name),
            }
        }
    }
}

fn say(bytes: &[u8], from: &mut TcpStream, to: &mut TcpStream, piece: usize, name: &str) {
    for piece in bytes.chunks(piece) {
        from.write_all(piece).unwrap();
        let mut heard = vec![0; piece.len()];
        to.read_exact(&mut heard).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(heard, piece, "{name}");
    }
}

fn end(from: &TcpStream, to: &mut TcpStream, name: &str) {
    from.shutdown(Shutdown::Write).unwrap();
    assert_eq!(to.read(&mut [0]).unwrap_or_else(|error| panic!("{name}: {error}")), 0, "{name}");
}

/// Walks along what one side sent, taking off what each exchange holds of it.
struct Walk<'a> {
    name: &'a str,
    rest: &'a [u8],
}

impl Walk<'_> {
    fn kept(&mut self, bytes: &[u8]) {
        let begins = self.rest.starts_with(bytes);
        assert!(
            begins,
            "{}: {:?} does not begin with {:?}",
            self.name,
            self.rest.escape_ascii(),
            bytes.escape_ascii()
        );
        self.rest = &self.rest[bytes.len()..];
    }

    fn counted(&mut self, bytes: u64) {
        self.rest = &self.rest[usize::try_from(bytes).unwrap()..];
    }

    fn message(&mut self, message: &Value, content: &Value) {
        let raw = |field: &Value| BASE64_STANDARD.decode(field.as_str().unwrap_or_default()).unwrap();
        assert_eq!(message["truncated"], false, "{}", self.name);
        self.kept(&raw(&message["head"]));
        match (message["body"].is_null(), content["body"].as_str()) {
            (false, _) => self.kept(&raw(&message["body"])),
            (true, Some(text)) => self.kept(text.as_bytes()),
            (true, None) => self.kept(&raw(&content["bodyBase64"])),
        }
        self.kept(&raw(&message["trailers"]));
    }

    /// Empty lines that no message follows belong to no exchange.
    fn end(self) {
        let blank = self.rest.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        assert!(blank, "{}: {:?} is in no exchange", self.name, self.rest.escape_ascii());
    }
}

fn check(conversation: &Conversation, exchanges: &[&Value]) {
    let (client, server) = (conversation.sent(Side::Client), conversation.sent(Side::Server));
    let mut up = Walk { name: &conversation.name, rest: &client };
    let mut down = Walk { name: &conversation.name, rest: &server };
    for pair in exchanges {
        let told = &pair["wayside"];
        if pair["l7protocol"] == "http" {
            up.message(&told["request"], &pair["http"]["req"]);
            for head in told["informational"].as_array().unwrap() {
                down.kept(&BASE64_STANDARD.decode(head.as_str().unwrap()).unwrap());
            }
            if !told["response"].is_null() {
                down.message(&told["response"], &pair["http"]["res"]);
            }
        } else {
            up.counted(told["request"]["wire_bytes"].as_u64().unwrap());
            down.counted(told["response"]["wire_bytes"].as_u64().unwrap_or_default());
        }
    }
    up.end();
    down.end();
}

fn replay(most_pieces: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../goproxy/tests/corpus/http1");
    let mut conversations: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| Conversation::read(&entry.unwrap().path())).collect();
    conversations.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(conversations.len() >= 60, "{} conversations", conversations.len());

    let (listener, origin) = peer::listen();
    let forwarder = Forwarder::start(&[]);
    let proxy = Goproxy::start("corpus", origin, forwarder.port, &[("REDACT_ENABLE", "false")]);
    let mut total = 0;
    for conversation in &conversations {
        let mut client = peer::connect(proxy.port);
        let (mut server, _) = listener.accept().unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        server.set_nodelay(true).unwrap();
        let bytes = conversation.sent(Side::Client).len() + conversation.sent(Side::Server).len();
        conversation.play(&mut client, &mut server, bytes.div_ceil(most_pieces).max(1));
        total += conversation.exchanges as u64;
    }
    forwarder.settled("corpus", total);
    let mut pairs: Vec<Value> = Vec::new();
    wait_for("every exchange to be listed", || {
        pairs = all_pairs(&forwarder);
        (pairs.len() as u64 == total).then_some(())
    });
    for (number, conversation) in conversations.iter().enumerate() {
        let of_it = |pair: &&Value| pair["wayside"]["connection"] == number;
        let mut exchanges: Vec<_> = pairs.iter().filter(of_it).collect();
        exchanges.sort_by_key(|pair| pair["wayside"]["index"].as_u64());
        assert_eq!(exchanges.len(), conversation.exchanges, "{}", conversation.name);
        check(conversation, &exchanges);
    }
}

fn all_pairs(forwarder: &Forwarder) -> Vec<Value> {
    let mut all = Vec::new();
    let mut path = "/api/v1/pairs?limit=200".to_owned();
    loop {
        let page = forwarder.json(&path);
        all.extend(page["pairs"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => path = format!("/api/v1/pairs?limit=200&cursor={next}"),
            None => return all,
        }
    }
}

#[test]
fn what_was_kept_is_byte_for_byte_what_was_said() {
    replay(1);
}

#[test]
fn and_so_it_is_when_every_byte_comes_alone() {
    replay(4096);
}
