//! Machines that wake when a magic packet comes, and are shut down by a command.

mod packet;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use tokio::{
    net::{TcpStream, UdpSocket},
    time::{self, Instant},
};

pub use self::packet::mac;
use super::{
    Error, Fault, Provider, Seen, Sightings, Status, Stop, Target, command,
    options::{self, Host},
};

/// How long a host may take to answer when it is asked whether it is up. Asleep, it never does.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many hosts are asked at once.
const AT_ONCE: usize = 16;
/// How often a magic packet is sent: nobody acknowledges one.
const REPEATS: usize = 3;

/// The provider.
pub struct WakeOnLan {
    options: options::WakeOnLan,
}

impl WakeOnLan {
    /// With these hosts.
    pub fn new(options: options::WakeOnLan) -> Self {
        Self { options }
    }

    /// The host of this id: from the configuration, or from the rule's `params` (`mac`, `address`, `port`), where
    /// the id itself may be the MAC address.
    fn host(&self, id: &str, target: &Target) -> Result<Host, Error> {
        if let Some(host) = self.options.hosts.get(id) {
            return Ok(host.clone());
        }
        let text = |name| target.params.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
        let address = text("address").filter(|_| target.ids.len() == 1);
        let address = address.ok_or_else(|| {
            Fault::Gone.said(format!("{id} is not among the hosts, and the rule has no params.address"))
        })?;
        let port = target.params.get("port").and_then(serde_json::Value::as_u64);
        Ok(Host {
            mac: text("mac").unwrap_or_else(|| id.to_owned()),
            address,
            port: port.and_then(|port| u16::try_from(port).ok()),
        })
    }

    async fn wake(&self, host: &Host) -> Result<(), Error> {
        let mac =
            mac(&host.mac).ok_or_else(|| Fault::Gone.said(format!("{} is no MAC address", host.mac)))?;
        let packet = packet::magic(mac);
        let sent = async {
            let own: SocketAddr = match self.options.broadcast {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let socket = UdpSocket::bind(own).await?;
            socket.set_broadcast(true)?;
            for _ in 0..REPEATS {
                socket.send_to(&packet, self.options.broadcast).await?;
            }
            io::Result::Ok(())
        };
        let to = self.options.broadcast;
        sent.await.map_err(|error| Fault::Unreachable.said(format!("send a magic packet to {to}: {error}")))
    }

    async fn see(&self, id: &str, target: &Target, deadline: Instant) -> Seen {
        let host = match self.host(id, target) {
            Ok(host) => host,
            Err(error) => return Seen { reason: Some(error.said), ..Seen::of(Status::Missing) },
        };
        let port = host.port.unwrap_or(self.options.port);
        let patience = deadline.min(Instant::now() + PATIENCE);
        let connected = time::timeout_at(patience, TcpStream::connect((host.address.as_str(), port))).await;
        let mut seen = match connected {
            Ok(Err(error)) => of_error(&error),
            Ok(Ok(_)) => Seen::of(Status::Running),
            Err(_) => Seen::of(Status::Stopped),
        };
        seen.addresses.push(host.address);
        seen
    }
}

fn of_error(error: &io::Error) -> Seen {
    match error.kind() {
        // Somebody is there and says no.
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Seen::of(Status::Running),
        io::ErrorKind::HostUnreachable | io::ErrorKind::TimedOut => Seen::of(Status::Stopped),
        // A name that is not found, a network that is down here: that tells nothing of the host.
        _ => Seen::unknown(&error.to_string()),
    }
}

#[async_trait]
impl Provider for WakeOnLan {
    async fn start(&self, target: &Target, _: Instant) -> Result<(), Error> {
        for id in &target.ids {
            self.wake(&self.host(id, target)?).await?;
        }
        Ok(())
    }

    async fn stop(&self, target: &Target, how: Stop, deadline: Instant) -> Result<(), Error> {
        let template = match how {
            Stop::Shutdown => &self.options.stop,
            Stop::Hibernate => &self.options.hibernate,
        };
        for id in &target.ids {
            let mut told = target.clone();
            told.params.insert("address".to_owned(), self.host(id, target)?.address.into());
            let argv: Vec<_> =
                template.iter().map(|argument| argument.replace("{address}", "{params.address}")).collect();
            command::run(&argv, id, &told, deadline).await?;
        }
        Ok(())
    }

    async fn status(&self, target: &Target, deadline: Instant) -> Result<Sightings, Error> {
        let seen = stream::iter(target.ids.clone()).map(|id| async move {
            let seen = self.see(&id, target, deadline).await;
            (id, seen)
        });
        Ok(seen.buffer_unordered(AT_ONCE).collect().await)
    }

    async fn describe(&self, target: &Target, deadline: Instant) -> Result<Sightings, Error> {
        self.status(target, deadline).await
    }
}

#[cfg(test)]
mod tests;
