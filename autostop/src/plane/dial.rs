//! Reaches for a target: each of its addresses in turn, again for a while, and not once it has gone.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpStream, lookup_host},
    time::{self, Instant},
};

use super::gate::Visit;

/// How long one address may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a target that should be there is tried before its client is told that it is not.
const PATIENCE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A host name or an address, with or without a port of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    host: Arc<str>,
    port: Option<u16>,
}

impl Place {
    /// `host`, `host:port`, `[address]:port` or a bare address.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(Self { host: address.ip().to_string().into(), port: Some(address.port()) });
        }
        if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Some(Self { host: address.to_string().into(), port: None });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (text, None),
        };
        let is_name = !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        is_name.then(|| Self { host: host.into(), port })
    }

    /// Connects to its own port, or to this one.
    ///
    /// # Errors
    /// When the name has no address, or none of them answers in time.
    pub async fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let mut last = None;
        for address in lookup_host((&*self.host, self.port.unwrap_or(port))).await? {
            match time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = Some(error),
                Err(_) => last = Some(io::ErrorKind::TimedOut.into()),
            }
        }
        Err(last.unwrap_or_else(|| io::Error::other("the name has no address")))
    }

    /// With the port that is connected to.
    pub fn at(&self, port: u16) -> String {
        let port = self.port.unwrap_or(port);
        if self.host.contains(':') {
            format!("[{}]:{port}", self.host)
        } else {
            format!("{}:{port}", self.host)
        }
    }

    /// The name or address alone.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => f.write_str(&self.at(port)),
            None => f.write_str(&self.host),
        }
    }
}

/// How reaching for a target ended.
#[derive(Debug)]
pub enum Reached<T> {
    /// It answered.
    There(T),
    /// It has gone to sleep meanwhile: its client is parked again.
    Parked,
    /// It should be there and is not.
    Failed(io::Error),
}

/// Tries the addresses of a target with `connect` until one answers.
pub async fn reach<T, F>(visit: &mut Visit, connect: impl Fn(Place) -> F) -> Reached<T>
where
    F: Future<Output = io::Result<T>>,
{
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let mut last = io::Error::other("the target has no address");
        for place in visit.gate().addresses() {
            match connect(place).await {
                Ok(there) => return Reached::There(there),
                Err(error) => last = error,
            }
        }
        if visit.park_again() {
            return Reached::Parked;
        }
        if started.elapsed() >= PATIENCE {
            return Reached::Failed(last);
        }
        time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_as_people_write_it() {
        for (text, at) in [
            ("10.0.0.17", Some("10.0.0.17:22")),
            ("10.0.0.17:2222", Some("10.0.0.17:2222")),
            ("vm-1.lab", Some("vm-1.lab:22")),
            ("vm-1.lab:2222", Some("vm-1.lab:2222")),
            ("fd00::1", Some("[fd00::1]:22")),
            ("[fd00::1]", Some("[fd00::1]:22")),
            ("[fd00::1]:2222", Some("[fd00::1]:2222")),
            ("", None),
            ("a b", None),
            ("vm:x", None),
            ("http://vm", None),
        ] {
            assert_eq!(Place::parse(text).map(|place| place.at(22)).as_deref(), at, "{text}");
        }
    }
}
