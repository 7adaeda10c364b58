//! Tells systemd how the daemon fares (sd_notify(3)), when it asked to be told.

use std::{
    env,
    os::{linux::net::SocketAddrExt as _, unix::ffi::OsStrExt as _, unix::net},
};

/// Ready to serve.
pub const READY: &str = "READY=1";
/// On the way out.
pub const STOPPING: &str = "STOPPING=1";
/// Still alive, for `WatchdogSec=`.
pub const WATCHDOG: &str = "WATCHDOG=1";

/// Sends a state to `NOTIFY_SOCKET`. Without that variable, or when nobody listens, nothing happens:
/// the daemon does not depend on being watched.
pub fn tell(state: &str) {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return };
    let address = match path.as_bytes().split_first() {
        Some((b'@', name)) => net::SocketAddr::from_abstract_name(name),
        _ => net::SocketAddr::from_pathname(&path),
    };
    let sent =
        address.and_then(|address| net::UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::debug!(%error, state, "notify failed");
    }
}
