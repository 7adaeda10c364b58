//! The web proxy on the way out: absolute form for http, CONNECT for https (RFC 9110, section 9.3.6).

use std::{io, net::IpAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::config::Secret;
use http::HeaderValue;
use ipnet::IpNet;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::Base;

/// Hosts that are never behind a web proxy.
const NEVER: [&str; 4] = ["127.0.0.1", "::1", "localhost", "169.254.169.254"];
/// The longest answer to CONNECT.
const MOST_ANSWER_BYTES: usize = 16 << 10;

/// The web proxies for each kind of upstream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies {
    pub(crate) http: Option<WebProxy>,
    pub(crate) https: Option<WebProxy>,
}

impl Proxies {
    /// The web proxy on the way to this upstream.
    pub(crate) fn of(&self, base: &Base) -> Option<&WebProxy> {
        let proxy = if base.tls { &self.https } else { &self.http };
        proxy.as_ref().filter(|proxy| proxy.is_for(&base.host, base.port))
    }
}

/// A web proxy.
#[derive(Clone, Debug)]
pub(crate) struct WebProxy {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// `user:password`.
    pub(crate) credentials: Option<Secret>,
    /// Hosts that are reached directly: names with all below them, with a port or without, networks, `*` for all.
    pub(crate) except: Vec<String>,
}

impl WebProxy {
    /// Whether this host is reached through it.
    pub(super) fn is_for(&self, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        let address: Option<IpAddr> = host.parse().ok();
        let is_meant = |rule: &String| {
            let rule = rule.to_ascii_lowercase();
            if let (Some(address), Ok(network)) = (address, rule.parse::<IpNet>()) {
                return network.contains(&address);
            }
            let rule = match rule.rsplit_once(':') {
                Some((name, told)) if !name.contains(':') => {
                    if told.parse() != Ok(port) {
                        return false;
                    }
                    name
                }
                _ => rule.as_str(),
            };
            let rule = rule.trim_start_matches('*');
            let bare = rule.trim_start_matches('.');
            rule.is_empty() || host == bare || host.strip_suffix(bare).is_some_and(|rest| rest.ends_with('.'))
        };
        !NEVER.contains(&host.as_str()) && !self.except.iter().any(is_meant)
    }

    /// What it wants to hear.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let credentials = self.credentials.as_ref()?;
        let mut value =
            HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(credentials.expose()))).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Asks for a tunnel to this authority.
    pub(super) async fn connect(&self, stream: &mut TcpStream, authority: &str) -> io::Result<()> {
        let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
        if let Some(value) = self.authorization().as_ref().and_then(|value| value.to_str().ok()) {
            request.push_str(&format!("Proxy-Authorization: {value}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        // Byte by byte, so that nothing behind the answer is taken.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= MOST_ANSWER_BYTES {
                return Err(io::Error::other("the web proxy does not end its answer"));
            }
            answer.push(stream.read_u8().await?);
        }
        let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        match line.split(' ').nth(1) {
            Some(status) if status.len() == 3 && status.starts_with('2') => Ok(()),
            Some("407") => Err(io::Error::other(
                "the web proxy wants a user and a password (407): see proxy_user and proxy_password",
            )),
            _ => Err(io::Error::other(format!("the web proxy refuses: {line}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_excepted_are_reached_directly() {
        let except =
            ["internal.example", ".lan", "*.corp", "10.0.0.0/8", "db:5432"].map(str::to_owned).to_vec();
        let proxy = WebProxy { host: "proxy".to_owned(), port: 3128, credentials: None, except };
        for host in [
            "localhost",
            "127.0.0.1",
            "internal.example",
            "a.internal.example",
            "box.lan",
            "x.corp",
            "10.1.2.3",
        ] {
            assert!(!proxy.is_for(host, 443), "{host}");
        }
        for host in ["example.com", "myinternal.example", "vlan", "11.1.2.3", "db"] {
            assert!(proxy.is_for(host, 443), "{host}");
        }
        assert!(!proxy.is_for("db", 5432));
        let all = WebProxy { except: vec!["*".to_owned()], ..proxy };
        assert!(!all.is_for("example.com", 443));
    }
}
