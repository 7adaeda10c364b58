//! Whether a target that runs is ready: its health check, or its first port.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{self, Instant},
};

use crate::rule::{Health, HealthProtocol, Rule};

/// Between two tries in the first seconds; a wake takes no longer than it has to.
const SHORT: Duration = Duration::from_millis(50);
/// For how long it is tried so often.
const SHORT_FOR: Duration = Duration::from_secs(5);
/// Between two tries after that.
const LONG: Duration = Duration::from_millis(500);
/// How long a port may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// More of an answer than its status line is not read.
const LINE_BYTES: usize = 512;

/// How to ask the targets of a rule.
#[derive(Clone, Debug)]
pub enum Check {
    /// A connection to this port is enough.
    Port(u16),
    /// The configured check.
    Health(Health),
    /// There is no port: what runs is ready.
    Nothing,
}

impl Check {
    /// As the rule says.
    pub fn of(rule: &Rule) -> Self {
        let port = rule.tcp.first().map(|tcp| tcp.target_port);
        let port = port.or_else(|| rule.http.first().map(|route| route.target_port));
        match (&rule.health, port) {
            (Some(health), _) => Self::Health(health.clone()),
            (None, Some(port)) => Self::Port(port),
            (None, None) => Self::Nothing,
        }
    }
}

/// Returns once one of the addresses is ready.
pub async fn until_ready(check: Check, addresses: Vec<String>) {
    let begun = Instant::now();
    while !is_ready(&check, &addresses).await {
        time::sleep(if begun.elapsed() < SHORT_FOR { SHORT } else { LONG }).await;
    }
}

async fn is_ready(check: &Check, addresses: &[String]) -> bool {
    if matches!(check, Check::Nothing) {
        return true;
    }
    for address in addresses {
        if try_one(check, address).await.is_ok() {
            return true;
        }
    }
    false
}

async fn try_one(check: &Check, address: &str) -> anyhow::Result<()> {
    match check {
        Check::Nothing => Ok(()),
        Check::Port(port) => connect(address, *port, CONNECT).await.map(drop),
        Check::Health(health) => {
            let asked = async {
                let stream = connect(address, health.port, health.timeout).await?;
                match health.protocol {
                    HealthProtocol::Tcp => Ok(()),
                    HealthProtocol::Http => ask(stream, address, health).await,
                    // Who answers a handshake is up; what it says behind it is for the rule's clients.
                    HealthProtocol::Https => greet(stream).await,
                }
            };
            time::timeout(health.timeout, asked).await.context("it takes too long")?
        }
    }
}

async fn connect(address: &str, port: u16, patience: Duration) -> anyhow::Result<TcpStream> {
    let stream = match address.parse::<std::net::SocketAddr>() {
        Ok(address) => time::timeout(patience, TcpStream::connect(address)).await,
        Err(_) => match address.rsplit_once(':').filter(|(host, _)| !host.contains(':')) {
            Some((host, own)) => time::timeout(patience, TcpStream::connect((host, own.parse()?))).await,
            None => {
                time::timeout(patience, TcpStream::connect((address.trim_matches(['[', ']']), port))).await
            }
        },
    };
    Ok(stream.context("no connection in time")??)
}

async fn ask(mut stream: TcpStream, host: &str, health: &Health) -> anyhow::Result<()> {
    let path = if health.path.is_empty() { "/" } else { &health.path };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: wayside-health\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut line = Vec::new();
    while !line.contains(&b'\n') && line.len() < LINE_BYTES {
        ensure!(stream.read_buf(&mut line).await? > 0, "no answer");
    }
    let status = status(&line).context("no HTTP")?;
    ensure!(health.status.contains(&status), "the answer is {status}");
    Ok(())
}

fn status(line: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(line.strip_prefix(b"HTTP/1.")?.get(2..5)?).ok()?;
    text.parse().ok()
}

/// Sends what begins a TLS handshake, and takes any record of TLS for an answer: an alert is one.
async fn greet(mut stream: TcpStream) -> anyhow::Result<()> {
    // A ClientHello of TLS 1.2 with one suite and no extensions: servers refuse it in their own words.
    let mut hello = vec![0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3];
    hello.extend((0..32).map(|_| fastrand::u8(..)));
    hello.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
    stream.write_all(&hello).await?;
    let mut kind = [0];
    stream.read_exact(&mut kind).await?;
    if !matches!(kind[0], 0x15 | 0x16) {
        bail!("no TLS");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn health(port: u16) -> Check {
        Check::Health(Health {
            protocol: HealthProtocol::Http,
            port,
            path: "/healthz".to_owned(),
            timeout: Duration::from_secs(5),
            status: 200..=299,
        })
    }

    #[tokio::test]
    async fn ready_is_who_answers_as_the_rule_wants_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serve = async {
            for answer in ["HTTP/1.1 503 Not yet\r\n\r\n", "SSH-2.0-x\r\n", "HTTP/1.1 204 Fine\r\n\r\n"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = [0; 1024];
                let length = stream.read(&mut asked).await.unwrap();
                assert!(asked[..length].starts_with(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1"));
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        };
        tokio::join!(serve, until_ready(health(port), vec!["127.0.0.1".to_owned()]));
    }

    #[tokio::test]
    async fn an_address_may_bring_a_port_of_its_own() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        assert!(try_one(&Check::Port(1), &address.to_string()).await.is_ok());
        assert!(try_one(&Check::Port(1), &format!("localhost:{}", address.port())).await.is_ok());
        assert!(try_one(&Check::Port(address.port()), "127.0.0.1").await.is_ok());
        assert!(try_one(&Check::Port(1), "127.0.0.1").await.is_err());
        until_ready(Check::Nothing, Vec::new()).await;
    }
}
