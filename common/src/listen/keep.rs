//! Leaves a copy of each listener with systemd (`FileDescriptorStoreMax=`, sd_notify(3)): while the daemon restarts,
//! after a crash too, whoever connects waits in the kernel's queue instead of being refused.

use std::{
    net::{SocketAddr, TcpListener},
    os::fd::AsFd as _,
};

use crate::notify;

/// Leaves a copy, until it is withdrawn.
pub(super) fn leave(listener: &TcpListener) {
    if let Ok(address) = listener.local_addr() {
        notify::tell_with(&format!("FDSTORE=1\nFDNAME={}", name(address)), Some(listener.as_fd()));
    }
}

/// Has the copy closed: nobody may wait at an address that is not served any more.
pub(super) fn withdraw(address: SocketAddr) {
    notify::tell(&format!("FDSTOREREMOVE=1\nFDNAME={}", name(address)));
}

/// What the copy is called. A colon may not be in it.
fn name(address: SocketAddr) -> String {
    let ip = match address.ip() {
        // Where there is no IPv6, everywhere is 0.0.0.0.
        ip if ip.is_unspecified() => "everywhere".to_owned(),
        ip => ip.to_string().replace(':', "-"),
    };
    format!("{ip}@{}", address.port())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_has_no_colon_and_is_the_same_for_both_families() {
        let name = |address: &str| super::name(address.parse().unwrap());
        assert_eq!(name("[::]:80"), "everywhere@80");
        assert_eq!(name("0.0.0.0:80"), "everywhere@80");
        assert_eq!(name("127.0.0.1:80"), "127.0.0.1@80");
        assert_eq!(name("[2001:db8::1]:80"), "2001-db8--1@80");
    }
}
