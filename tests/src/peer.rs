//! Clients and servers that send exactly the bytes they are told.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread::{self, JoinHandle},
};

use crate::wait::PATIENCE;

/// A listener on a free port of loopback.
///
/// # Panics
/// When there is none.
pub fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it has an address");
    (listener, address)
}

/// A port that nobody uses now, and that is given to no connection by itself: who is started again finds it free.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    let free = || {
        let port = fastrand::u16(10_000..32_000);
        TcpListener::bind(("0.0.0.0", port)).ok().map(|_| port)
    };
    (0..1000).find_map(|_| free()).expect("a free port")
}

/// Connects, with a bound on how long a read may take.
///
/// # Panics
/// When nobody listens.
pub fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("somebody listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream.set_nodelay(true).expect("it is TCP");
    stream
}

/// Serves each connection with `serve` on a thread of its own, for as long as the process lives.
///
/// # Panics
/// When there is no free port.
pub fn serve(serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let (listener, address) = listen();
    serve_on(listener, serve);
    address
}

/// The same, on a listener that may be open to more than loopback.
pub fn serve_on(listener: TcpListener, serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) {
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
}

/// A minimal HTTP/1.1 service: answers each request head with `200` and this body, and keeps alive.
///
/// # Panics
/// When there is no free port.
pub fn http_service(body: &'static [u8]) -> SocketAddr {
    http_service_of("text/plain", body)
}

/// The same, of this type.
///
/// # Panics
/// When there is no free port.
pub fn http_service_of(media: &'static str, body: &'static [u8]) -> SocketAddr {
    serve(answering(media, body))
}

/// What such a service does with a connection.
pub fn answering(
    media: &'static str,
    body: &'static [u8],
) -> impl Fn(TcpStream) + Send + Sync + Clone + 'static {
    move |mut stream| {
        stream.set_nodelay(true).ok();
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            seen.extend_from_slice(&buffer[..length]);
            while let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
                seen.drain(..end + 4);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                if stream.write_all(&[head.as_bytes(), body].concat()).is_err() {
                    return;
                }
            }
        }
    }
}

/// Sends `GET` for this path over a fresh connection and returns the whole answer.
///
/// # Panics
/// When the connection fails.
pub fn get(port: u16, path: &str) -> String {
    let mut stream = connect(port);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").expect("sent");
    stream.shutdown(std::net::Shutdown::Write).expect("half-closed");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

/// Accepts one connection on a thread and works on it.
///
/// # Panics
/// In the thread, when nobody connects.
pub fn accept_one<T: Send + 'static>(
    listener: TcpListener,
    work: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> JoinHandle<T> {
    thread::spawn(move || {
        let (stream, _) = listener.accept().expect("somebody connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_nodelay(true).expect("it is TCP");
        work(stream)
    })
}
