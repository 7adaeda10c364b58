//! Clients that come, say something, and wait for their answer.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::stop::Stop;

/// How long one may take to be answered once its machine is there.
const ANSWER: Duration = Duration::from_secs(30);

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Bytes, which come back.
    Tcp,
    /// HTTP/1.1 as a program speaks it, which is not shown a page.
    Http,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Http => "HTTP",
        }
    }

    /// What a machine answers.
    pub(super) fn answer(self) -> &'static [u8] {
        match self {
            Self::Tcp => b"hello",
            Self::Http => b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        }
    }
}

/// Where a client comes to, and which machine it wants.
#[derive(Clone, Copy)]
pub(super) struct Entrance {
    pub(super) addr: SocketAddr,
    pub(super) number: u16,
}

/// All of them.
pub(super) struct Crowd(Kind, Vec<TcpStream>);

impl Crowd {
    pub(super) fn come(kind: Kind, entrances: &[Entrance]) -> Result<Self> {
        let mut clients = Vec::new();
        for entrance in entrances {
            let mut client = TcpStream::connect(entrance.addr).context("connect")?;
            client.set_read_timeout(Some(ANSWER))?;
            let request = format!(
                "GET /builds HTTP/1.1\r\nHost: {}\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n",
                host(entrance.number)
            );
            client.write_all(match kind {
                Kind::Tcp => b"hello",
                Kind::Http => request.as_bytes(),
            })?;
            clients.push(client);
        }
        Ok(Self(kind, clients))
    }

    /// An error if one of them is not answered.
    pub(super) fn all_served(&mut self, stop: &Stop) -> Result<()> {
        let Self(kind, clients) = self;
        for client in clients {
            ensure!(!stop.asked(), "stopped");
            let mut heard = Vec::new();
            while !heard.ends_with(b"hello") {
                let mut some = [0; 1024];
                let length = client.read(&mut some).context("wait for an answer")?;
                ensure!(length > 0, "one was sent away: {}", String::from_utf8_lossy(&heard));
                heard.extend_from_slice(some.get(..length).unwrap_or_default());
            }
            let good = *kind == Kind::Tcp || heard.starts_with(b"HTTP/1.1 200");
            ensure!(good, "one was refused: {}", String::from_utf8_lossy(&heard));
        }
        Ok(())
    }
}

/// The name of a machine.
pub(super) fn host(number: u16) -> String {
    format!("m{number}.bench.example.com")
}
