//! Pure. The line for a connection, in the form of HAProxy's `option tcplog` (its manual, section 8.2.2).

use std::{net::SocketAddr, time::Duration};

use jiff::{Timestamp, tz::TimeZone};

/// How a connection ended, as two letters: who or what ended it, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// In good order.
    Normal,
    /// The client broke off.
    Client,
    /// The server broke off.
    Server,
    /// Nothing came for too long.
    Idle,
    /// The server could not be connected to.
    Connect,
    /// Nor in time.
    ConnectTime,
    /// There was no server to try.
    NoServer,
    /// The relay stopped.
    Killed,
    /// What came was no PROXY header.
    Proxy,
}

impl End {
    fn letters(self) -> &'static str {
        match self {
            Self::Normal => "--",
            Self::Client => "CD",
            Self::Server => "SD",
            Self::Idle => "cD",
            Self::Connect | Self::NoServer => "SC",
            Self::ConnectTime => "sC",
            Self::Killed => "KD",
            Self::Proxy => "PR",
        }
    }
}

/// What is told of a connection.
#[derive(Clone, Debug)]
pub(super) struct Line<'a> {
    pub(super) client: SocketAddr,
    pub(super) accepted: Timestamp,
    pub(super) front: &'a str,
    pub(super) back: &'a str,
    pub(super) server: Option<&'a str>,
    /// How long the connection to the server took, if there was one.
    pub(super) connect: Option<Duration>,
    pub(super) total: Duration,
    /// From the server to the client.
    pub(super) bytes: u64,
    pub(super) end: End,
    pub(super) open: u64,
    pub(super) server_open: u64,
    pub(super) retries: u32,
    /// Whether another server was tried than the first.
    pub(super) is_redispatched: bool,
}

/// See the module.
pub(super) fn line(told: &Line<'_>) -> String {
    let Line { client, front, back, bytes, open, server_open, retries, .. } = told;
    let (ip, port) = (client.ip().to_canonical(), client.port());
    let time = told.accepted.to_zoned(TimeZone::UTC).strftime("%d/%b/%Y:%H:%M:%S%.3f").to_string();
    let connect = told.connect.map_or("-1".to_owned(), |connect| connect.as_millis().to_string());
    let server = told.server.unwrap_or("<NOSRV>");
    let plus = if told.is_redispatched { "+" } else { "" };
    format!(
        "{ip}:{port} [{time}] {front} {back}/{server} 0/{connect}/{} {bytes} {} {open}/{open}/{open}/{server_open}/{plus}{retries} 0/0",
        told.total.as_millis(),
        told.end.letters(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_the_one_that_log_readers_know() {
        let told = Line {
            client: "[::ffff:10.0.1.2]:33313".parse().unwrap(),
            accepted: Timestamp::from_millisecond(1_233_922_251_655).unwrap(),
            front: "fnt",
            back: "bck",
            server: Some("srv1"),
            connect: Some(Duration::from_millis(7)),
            total: Duration::from_millis(5007),
            bytes: 212,
            end: End::Normal,
            open: 3,
            server_open: 1,
            retries: 0,
            is_redispatched: false,
        };
        let whole = "10.0.1.2:33313 [06/Feb/2009:12:10:51.655] fnt bck/srv1 0/7/5007 212 -- 3/3/3/1/0 0/0";
        assert_eq!(line(&told), whole);
        let failed = Line {
            server: None,
            connect: None,
            end: End::NoServer,
            retries: 3,
            is_redispatched: true,
            ..told
        };
        let whole =
            "10.0.1.2:33313 [06/Feb/2009:12:10:51.655] fnt bck/<NOSRV> 0/-1/5007 212 SC 3/3/3/1/+3 0/0";
        assert_eq!(line(&failed), whole);
    }
}
