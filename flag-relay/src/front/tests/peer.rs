//! A client that sees every byte.

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

/// An answer.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl Told {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(told, _)| told.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// A connection, and what was read beyond what was asked for.
pub(super) struct Peer {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl Peer {
    pub(super) async fn connect(port: u16) -> Self {
        Self { stream: TcpStream::connect(("127.0.0.1", port)).await.unwrap(), rest: Vec::new() }
    }

    /// One that takes little before the other side has to wait.
    pub(super) async fn narrow(port: u16) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(2048).unwrap();
        let stream = socket.connect(([127, 0, 0, 1], port).into()).await.unwrap();
        Self { stream, rest: Vec::new() }
    }

    pub(super) async fn send(&mut self, request: &str) {
        // Who is refused early is not read to the end.
        self.stream.write_all(request.as_bytes()).await.ok();
    }

    pub(super) async fn ask(&mut self, request: &str) -> Told {
        self.send(request).await;
        let head = self.head().await;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |told| told.parse().unwrap());
        while self.rest.len() < length {
            assert!(self.more().await, "cut: {head}");
        }
        let body = self.rest.drain(..length).collect();
        Told { status, head, body: String::from_utf8(body).unwrap() }
    }

    /// Reads a head.
    pub(super) async fn head(&mut self) -> String {
        self.until(b"\r\n\r\n").await.expect("a head")
    }

    /// The next chunk; `None` at the last one.
    pub(super) async fn chunk(&mut self) -> Option<String> {
        let size = usize::from_str_radix(self.until(b"\r\n").await?.trim(), 16).unwrap();
        while self.rest.len() < size + 2 {
            assert!(self.more().await, "cut within a chunk");
        }
        let chunk: Vec<u8> = self.rest.drain(..size + 2).collect();
        let chunk = String::from_utf8(chunk).unwrap();
        (size > 0).then(|| chunk.strip_suffix("\r\n").unwrap().to_owned())
    }

    /// The data of the next event; `None` at the end. What is no event must be a heartbeat by itself.
    pub(super) async fn event(&mut self) -> Option<Value> {
        loop {
            let chunk = self.chunk().await?;
            if chunk == ":\n\n" {
                continue;
            }
            let data = chunk
                .strip_suffix("\n\n")
                .and_then(|told| told.rsplit_once("data: "))
                .expect("one whole event")
                .1;
            assert!(!data.contains('\n'), "one event a chunk: {chunk}");
            return Some(serde_json::from_str(data).unwrap());
        }
    }

    async fn until(&mut self, mark: &[u8]) -> Option<String> {
        loop {
            if let Some(at) = self.rest.windows(mark.len()).position(|window| window == mark) {
                let told = self.rest.drain(..at + mark.len()).collect();
                return Some(String::from_utf8(told).unwrap());
            }
            if !self.more().await {
                assert!(self.rest.is_empty(), "cut");
                return None;
            }
        }
    }

    async fn more(&mut self) -> bool {
        let mut buffer = vec![0; 16 << 10];
        let read = self.stream.read(&mut buffer).await.unwrap_or(0);
        self.rest.extend_from_slice(&buffer[..read]);
        read > 0
    }
}
