//! The least HTTP/1.1 client that can ask a daemon on this machine how it is.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Status and body of `GET path`, on a connection of its own.
pub(crate) fn get(addr: SocketAddr, path: &str) -> Result<(u16, String)> {
    get_from(&addr.to_string(), addr, path)
}

/// The same, from the host of this name.
pub(crate) fn get_from(host: &str, addr: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&addr, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(request(host, path).as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("a head that ends")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("a status")?;
    Ok((status, body.to_owned()))
}

/// The head of `GET path`, as the last request of its connection.
pub(crate) fn request(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

/// Whether `GET path` answers 200 now.
pub(crate) fn is_ok(addr: SocketAddr, path: &str) -> bool {
    get(addr, path).is_ok_and(|(status, _)| status == 200)
}
