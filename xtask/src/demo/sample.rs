//! A small service for the demo: JSON, HTML, binary, slow and failing routes, on threads.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

const SLOW: Duration = Duration::from_millis(350);
const PRODUCTS: &str = r#"[{"id":1,"name":"Lantern","price":19.5},{"id":2,"name":"Compass","price":32.0}]"#;
const PAGE: &str = "<!doctype html><title>Sample shop</title><h1>Sample shop</h1><p>Two products.</p>";
/// A black pixel.
const PIXEL: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

/// Serves on a free port of the loopback, from then on.
pub(crate) fn start() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen for the sample service")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away in the middle is its own business.
            thread::spawn(move || drop(serve(&stream)));
        }
    });
    Ok(port)
}

fn serve(stream: &TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    while let Some(request) = read_request(&mut reader)? {
        let (status, kind, body) = answer(&request);
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nServer: sample\r\n\r\n",
            body.len()
        );
        let body = if request.method == "HEAD" { Vec::new() } else { body };
        writer.write_all(&[head.into_bytes(), body].concat())?;
        if request.close {
            break;
        }
    }
    Ok(())
}

struct Request {
    method: String,
    path: String,
    close: bool,
    body: Vec<u8>,
}

/// The next request of a well-behaved client, or `None` at the end of the connection.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default().to_owned();
    let (mut length, mut close) = (0, false);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        match line.to_ascii_lowercase().split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().map_err(io::Error::other)?,
            Some(("connection", value)) => close = value.trim() == "close",
            _ => {}
        }
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    Ok(Some(Request { method, path, close, body }))
}

type Answer = (&'static str, &'static str, Vec<u8>);

fn answer(request: &Request) -> Answer {
    let json = |status, body: &str| (status, "application/json", body.as_bytes().to_vec());
    match (request.method.as_str(), request.path.as_str()) {
        ("GET" | "HEAD", "/") => ("200 OK", "text/html; charset=utf-8", PAGE.into()),
        ("GET", "/api/products") => json("200 OK", PRODUCTS),
        ("POST", "/api/orders") => ("201 Created", "application/json", request.body.clone()),
        ("GET", "/pixel.gif") => ("200 OK", "image/gif", PIXEL.to_vec()),
        ("GET", "/slow") => {
            thread::sleep(SLOW);
            json("200 OK", r#"{"slept_ms":350}"#)
        }
        ("GET", "/broken") => json("500 Internal Server Error", r#"{"error":"broken on purpose"}"#),
        _ => json("404 Not Found", r#"{"error":"no such page"}"#),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::start;
    use crate::http;

    #[test]
    fn it_answers_over_the_loopback() {
        let addr = SocketAddr::from(([127, 0, 0, 1], start().unwrap()));
        let check = |path, expected: u16, part: &str| {
            let (status, body) = http::get(addr, path).unwrap();
            assert_eq!(status, expected, "{path}");
            assert!(body.contains(part), "{path}: {body}");
        };
        check("/", 200, "Sample shop");
        check("/api/products?sort=price", 200, "Lantern");
        check("/broken", 500, "on purpose");
        check("/nowhere", 404, "no such page");
    }
}
