//! Servers and clients of the tests.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use crate::scene::{local, wait_for};

/// A server that is gone when it is dropped.
pub struct Server {
    task: JoinHandle<()>,
    pub accepted: Arc<AtomicU64>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Serves each connection with `serve`.
    pub async fn start<F>(port: u16, serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        // A server before it on this port may not have let go of it yet.
        wait_for("the port", || socket.bind(local(port)).ok()).await;
        let listener: TcpListener = socket.listen(4096).unwrap();
        let accepted = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            // They end with the server, as on a machine that stops.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                stream.set_nodelay(true).unwrap();
                connections.spawn(serve(stream));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { task, accepted }
    }
}

/// Reads to the end, then says all of it again, backwards.
pub async fn reverse(mut stream: TcpStream) {
    let mut all = Vec::new();
    // A probe for readiness says nothing.
    if stream.read_to_end(&mut all).await.is_ok() && !all.is_empty() {
        all.reverse();
        stream.write_all(&all).await.ok();
    }
}

/// Says what it hears.
pub async fn echo(mut stream: TcpStream) {
    let (mut reads, mut writes) = stream.split();
    tokio::io::copy(&mut reads, &mut writes).await.ok();
}

pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}

/// One HTTP/1.1 request over a fresh connection that ends with the answer.
pub async fn ask(port: u16, head: &str) -> String {
    let mut stream = crate::scene::connect(port).await;
    let text = format!("{head}\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    crate::scene::soon("an answer", stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// A service that answers every request with its own head.
pub async fn mirror(mut stream: TcpStream) {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        seen.extend_from_slice(&buffer[..length]);
        while let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
            let head: Vec<u8> = seen.drain(..end + 4).collect();
            let start = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", head.len());
            if stream.write_all(&[start.as_bytes(), &head].concat()).await.is_err() {
                return;
            }
        }
    }
}
