//! Clients for the sample service, so that there is something to see.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use crate::stop::Stop;

const PAUSE: Duration = Duration::from_millis(400);
const ORDER: &str = r#"{"product":2,"quantity":1,"card":"4111 1111 1111 1111"}"#;
const ROUTES: [(&str, &str, &str); 8] = [
    ("GET", "/", ""),
    ("GET", "/api/products", ""),
    ("GET", "/api/products?sort=price", ""),
    ("POST", "/api/orders", ORDER),
    ("GET", "/pixel.gif", ""),
    ("GET", "/slow", ""),
    ("GET", "/missing", ""),
    ("GET", "/broken", ""),
];

/// A round of all routes on one connection, again and again until stopped.
pub(crate) fn start(proxy: SocketAddr, stop: Stop) {
    thread::spawn(move || {
        while !stop.asked() {
            // While goproxy stops, connections fail; that is for the main thread to tell.
            drop(round(proxy, &stop));
            thread::sleep(PAUSE);
        }
    });
}

fn round(proxy: SocketAddr, stop: &Stop) -> io::Result<()> {
    let mut stream = TcpStream::connect(proxy)?;
    for (method, target, body) in ROUTES {
        if stop.asked() {
            break;
        }
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: sample.test\r\nUser-Agent: demo\r\nAccept: */*\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes())?;
        read_response(&mut stream)?;
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// The sample service answers in one write, with a length.
fn read_response(stream: &mut TcpStream) -> io::Result<()> {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        seen.extend(buffer.iter().take(read));
        if is_complete(&seen) {
            return Ok(());
        }
    }
}

fn is_complete(seen: &[u8]) -> bool {
    let text = String::from_utf8_lossy(seen);
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
    seen.len() >= head.len() + 4 + length.unwrap_or(0)
}
