//! Binds a TCP listener, or takes one that was opened before the start, on both address families where it listens
//! everywhere; and accepts from it.

mod accept;
mod inherit;
mod keep;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};

pub use self::accept::accept;

/// How many connections may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// How long systemd may take to close its copy of a listener.
const CLOSING: Duration = Duration::from_secs(2);

/// On all interfaces, IPv4 and IPv6 alike, at this port; 0 takes a free one.
pub fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))
}

/// Binds a non-blocking listener, or takes the one that systemd has for it. `[::]` takes IPv4 as well, and falls back
/// to `0.0.0.0` on a machine without IPv6. systemd is given a copy: it outlives the process, so that nobody is refused
/// while another one starts.
///
/// # Errors
/// What the system said, with the address.
pub fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    if let Some(listener) = inherit::take(address) {
        return Ok(listener);
    }
    let listener = match open_either(address) {
        Err(error) if error.source.kind() == io::ErrorKind::AddrInUse => instead_of_old(address, error),
        result => result,
    }?;
    keep::leave(&listener);
    Ok(listener)
}

/// The settings were loopback and are everywhere now, or the other way: what was left for us at this port is in the
/// way of what they name, and is given up first.
fn instead_of_old(address: SocketAddr, error: Error) -> Result<TcpListener, Error> {
    let old = inherit::take_in_the_way(address);
    for address in &old {
        tracing::info!(addr = %address, "listener closed: no setting names it any more");
        keep::withdraw(*address);
    }
    if old.is_empty() {
        return Err(error);
    }
    // systemd closes its copy in its own time, and does not say when.
    let deadline = Instant::now() + CLOSING;
    loop {
        match open_either(address) {
            Err(error) if error.source.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                thread::sleep(CLOSING / 200);
            }
            result => return result,
        }
    }
}

/// IPv4 alone on a machine without IPv6.
fn open_either(address: SocketAddr) -> Result<TcpListener, Error> {
    let everywhere = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    match open(address) {
        Err(error) if everywhere && no_ipv6(&error) => {
            let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            open(v4).map_err(|source| Error { address: v4, source })
        }
        result => result.map_err(|source| Error { address, source }),
    }
}

/// Gives up an address that was listened on and is not any more, while the daemon lives on.
pub fn give_up(address: SocketAddr) {
    keep::withdraw(address);
}

/// Gives up what systemd has for us and nobody took: the settings do not name it any more. Called once everything
/// that they name is bound.
pub(crate) fn give_up_leftovers() {
    for address in inherit::leftovers() {
        tracing::info!(addr = %address, "listener closed: no setting names it any more");
        keep::withdraw(address);
    }
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listen on {address}")]
pub struct Error {
    /// Where.
    pub address: SocketAddr,
    /// Why not.
    #[source]
    pub source: io::Error,
}

fn no_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(code) if code == nix::errno::Errno::EAFNOSUPPORT as i32 || code == nix::errno::Errno::EADDRNOTAVAIL as i32)
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everywhere_takes_both_families() {
        let listener = bind(everywhere(0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        std::net::TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
    }

    #[test]
    fn an_address_in_use_is_told_with_the_address() {
        let first = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let error = bind(first.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains("127.0.0.1:"));
    }
}
