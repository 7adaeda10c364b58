//! Listeners that were there before this process: those that systemd opened, or kept of the process before it
//! (sd_listen_fds(3)), and those that the process before it handed over itself.

use std::{
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{LazyLock, Mutex, PoisonError},
};

use listenfd::ListenFd;

use crate::handover;

static INHERITED: LazyLock<Mutex<Vec<TcpListener>>> = LazyLock::new(|| {
    let mut all = ListenFd::from_env();
    let listeners = (0..all.len()).filter_map(|at| match all.take_tcp_listener(at) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%error, socket = at, "an inherited socket is no TCP listener");
            None
        }
    });
    let mut listeners: Vec<_> = listeners.collect();
    match handover::receive() {
        Ok(handed_over) => listeners.extend(handed_over),
        Err(error) => tracing::error!(%error, "sockets that were handed over cannot be had"),
    }
    Mutex::new(listeners)
});

/// The listener at this address, if it was opened for us. It is given away once.
pub(super) fn take(wanted: SocketAddr) -> Option<TcpListener> {
    let mut listeners = INHERITED.lock().unwrap_or_else(PoisonError::into_inner);
    let is_it = |there: SocketAddr| fits(there, wanted);
    let at = listeners.iter().position(|listener| listener.local_addr().is_ok_and(is_it))?;
    // In order: those at port 0 are told apart by nothing else.
    let listener = listeners.remove(at);
    listener.set_nonblocking(true).is_ok().then_some(listener)
}

/// Where those listen that keep others from listening here. They are closed.
pub(super) fn take_in_the_way(wanted: SocketAddr) -> Vec<SocketAddr> {
    let mut listeners = INHERITED.lock().unwrap_or_else(PoisonError::into_inner);
    let is_it = |listener: &mut TcpListener| listener.local_addr().is_ok_and(|there| clashes(there, wanted));
    listeners.extract_if(.., is_it).filter_map(|listener| listener.local_addr().ok()).collect()
}

/// Where those listen that nobody took. They are closed.
pub(super) fn leftovers() -> Vec<SocketAddr> {
    let mut listeners = INHERITED.lock().unwrap_or_else(PoisonError::into_inner);
    listeners.drain(..).filter_map(|listener| listener.local_addr().ok()).collect()
}

/// Whether who wants to listen here is served by a listener there. Port 0 is any.
fn fits(there: SocketAddr, wanted: SocketAddr) -> bool {
    let everywhere = |ip: IpAddr| ip.is_unspecified();
    (wanted.port() == 0 || there.port() == wanted.port())
        && (there.ip() == wanted.ip() || everywhere(there.ip()) && everywhere(wanted.ip()))
}

/// Whether one of them is everywhere, and so at the address of the other.
fn clashes(there: SocketAddr, wanted: SocketAddr) -> bool {
    there.port() == wanted.port() && (there.ip().is_unspecified() || wanted.ip().is_unspecified())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_listener_serves_its_own_address_or_everywhere() {
        let fits = |there: &str, wanted: &str| super::fits(there.parse().unwrap(), wanted.parse().unwrap());
        assert!(fits("[::]:80", "[::]:80"));
        assert!(fits("0.0.0.0:80", "[::]:80"), "a machine without IPv6");
        assert!(fits("127.0.0.1:80", "127.0.0.1:80"));
        assert!(!fits("[::]:80", "127.0.0.1:80"), "it would be open to more than was asked");
        assert!(!fits("127.0.0.1:80", "[::]:80"), "it would be open to fewer");
        assert!(!fits("[::]:80", "[::]:81"));
        assert!(fits("127.0.0.1:80", "127.0.0.1:0"));
        assert!(!fits("127.0.0.1:80", "[::]:0"));
    }

    #[test]
    fn everywhere_is_in_the_way_of_every_address() {
        let clashes =
            |there: &str, wanted: &str| super::clashes(there.parse().unwrap(), wanted.parse().unwrap());
        assert!(clashes("127.0.0.1:80", "[::]:80"));
        assert!(clashes("0.0.0.0:80", "10.0.0.1:80"));
        assert!(!clashes("127.0.0.1:80", "10.0.0.1:80"), "another setting may name the first");
        assert!(!clashes("127.0.0.1:80", "[::]:81"));
    }
}
