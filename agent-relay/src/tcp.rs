//! TCP mode: carries what is not HTTP to one of several servers, unchanged, as HAProxy's `mode tcp` does.

mod check;
pub(crate) mod front;
mod line;
pub(crate) mod pool;
pub(crate) mod proxied;

use std::{net::SocketAddr, time::Duration};

/// One `[[tcp]]` of the configuration: where it listens, and the servers behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) name: String,
    /// What the servers together are called.
    pub(crate) backend: String,
    pub(crate) listen: SocketAddr,
    pub(crate) servers: Vec<ServerSpec>,
    /// Connections at a time; more wait in the kernel.
    pub(crate) most_connections: usize,
    pub(crate) connect_time: Duration,
    /// How long neither side may say anything.
    pub(crate) idle_time: Duration,
    /// Tries to connect, beside the first.
    pub(crate) retries: u32,
    /// Whether the last try may go to another server.
    pub(crate) redispatches: bool,
    pub(crate) check_every: Duration,
    /// So many checks that fail make a server down, and so many that work bring it back.
    pub(crate) fall: u32,
    pub(crate) rise: u32,
    /// Whether every connection begins with a PROXY header.
    pub(crate) accepts_proxy: bool,
    /// Whether each connection is a line of the log.
    pub(crate) logs: bool,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerSpec {
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) weight: u32,
    /// The port that is checked; `None` when none is.
    pub(crate) check: Option<u16>,
    /// The version of the PROXY header that it is sent, 1 or 2.
    pub(crate) send_proxy: Option<u8>,
}
