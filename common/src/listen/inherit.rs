//! Listeners that were there before this process: those that systemd opened, or kept of the process before it
//! (sd_listen_fds(3)), and those that the process before it handed over itself.

use std::{
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use listenfd::ListenFd;

use crate::handover;

static INHERITED: LazyLock<Mutex<Inherited>> = LazyLock::new(|| {
    let mut all = ListenFd::from_env();
    let kept = (0..all.len()).filter_map(|at| match all.take_tcp_listener(at) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%error, socket = at, "an inherited socket is no TCP listener");
            None
        }
    });
    let kept = kept.collect();
    let handed_over = handover::receive().unwrap_or_else(|error| {
        tracing::error!(%error, "sockets that were handed over cannot be had");
        Vec::new()
    });
    Mutex::new(Inherited { kept, handed_over })
});

struct Inherited {
    /// Those of systemd.
    kept: Vec<TcpListener>,
    /// Those of the process before this one, which had the same settings, in the order in which they name them.
    handed_over: Vec<TcpListener>,
}

impl Inherited {
    fn take(&mut self, wanted: SocketAddr) -> Option<TcpListener> {
        let is_kept = |there| fits(there, wanted);
        // Of these, one at any port is the one that was opened for it.
        let is_handed_over =
            |there: SocketAddr| is_kept(there) || wanted.port() == 0 && fits(at_port_0(there), wanted);
        remove(&mut self.kept, is_kept).or_else(|| remove(&mut self.handed_over, is_handed_over))
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Vec<TcpListener>> {
        [&mut self.kept, &mut self.handed_over].into_iter()
    }
}

fn remove(listeners: &mut Vec<TcpListener>, is_it: impl Fn(SocketAddr) -> bool) -> Option<TcpListener> {
    let at = listeners.iter().position(|listener| listener.local_addr().is_ok_and(&is_it))?;
    Some(listeners.remove(at))
}

fn at_port_0(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), 0)
}

fn inherited() -> MutexGuard<'static, Inherited> {
    INHERITED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The listener at this address, if it was opened for us. It is given away once.
pub(super) fn take(wanted: SocketAddr) -> Option<TcpListener> {
    let listener = inherited().take(wanted)?;
    listener.set_nonblocking(true).is_ok().then_some(listener)
}

/// Where those listen that keep others from listening here. They are closed.
pub(super) fn take_in_the_way(wanted: SocketAddr) -> Vec<SocketAddr> {
    let is_it = |listener: &mut TcpListener| listener.local_addr().is_ok_and(|there| clashes(there, wanted));
    let closed = |listeners: &mut Vec<TcpListener>| addresses(listeners.extract_if(.., is_it));
    inherited().all().flat_map(closed).collect()
}

/// Where those listen that nobody took. They are closed.
pub(super) fn leftovers() -> Vec<SocketAddr> {
    inherited().all().flat_map(|listeners| addresses(listeners.drain(..))).collect()
}

fn addresses(listeners: impl Iterator<Item = TcpListener>) -> Vec<SocketAddr> {
    listeners.filter_map(|listener| listener.local_addr().ok()).collect()
}

/// Whether who wants to listen here is served by a listener there.
fn fits(there: SocketAddr, wanted: SocketAddr) -> bool {
    let everywhere = |ip: IpAddr| ip.is_unspecified();
    there.port() == wanted.port()
        && (there.ip() == wanted.ip() || everywhere(there.ip()) && everywhere(wanted.ip()))
}

/// Whether one of them is everywhere, and so at the address of the other.
fn clashes(there: SocketAddr, wanted: SocketAddr) -> bool {
    there.port() == wanted.port() && (there.ip().is_unspecified() || wanted.ip().is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_serves_its_own_address_or_everywhere() {
        let fits = |there: &str, wanted: &str| fits(there.parse().unwrap(), wanted.parse().unwrap());
        assert!(fits("[::]:80", "[::]:80"));
        assert!(fits("0.0.0.0:80", "[::]:80"), "a machine without IPv6");
        assert!(fits("127.0.0.1:80", "127.0.0.1:80"));
        assert!(!fits("[::]:80", "127.0.0.1:80"), "it would be open to more than was asked");
        assert!(!fits("127.0.0.1:80", "[::]:80"), "it would be open to fewer");
        assert!(!fits("[::]:80", "[::]:81"));
    }

    #[test]
    fn any_port_is_that_of_the_process_before_and_never_one_that_systemd_keeps() {
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let address = |listener: &TcpListener| listener.local_addr().unwrap();
        let (kept, first, second) = (listen(), listen(), listen());
        let expected = [address(&first), address(&second), address(&kept)];
        let mut inherited = Inherited { kept: vec![kept], handed_over: vec![first, second] };
        let mut take = |wanted: &str| inherited.take(wanted.parse().unwrap()).as_ref().map(address);
        assert_eq!(take("[::]:0"), None, "it would be open to fewer");
        assert_eq!(take("127.0.0.1:0"), Some(expected[0]), "in their order");
        assert_eq!(take("127.0.0.1:0"), Some(expected[1]));
        assert_eq!(take("127.0.0.1:0"), None);
        assert_eq!(take(&expected[2].to_string()), Some(expected[2]));
    }

    #[test]
    fn everywhere_is_in_the_way_of_every_address() {
        let clashes = |there: &str, wanted: &str| clashes(there.parse().unwrap(), wanted.parse().unwrap());
        assert!(clashes("127.0.0.1:80", "[::]:80"));
        assert!(clashes("0.0.0.0:80", "10.0.0.1:80"));
        assert!(!clashes("127.0.0.1:80", "10.0.0.1:80"), "another setting may name the first");
        assert!(!clashes("127.0.0.1:80", "[::]:81"));
    }
}
