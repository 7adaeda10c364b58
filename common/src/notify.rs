//! Tells systemd how the daemon fares (sd_notify(3)), when it asked to be told.

use std::{
    env,
    os::{linux::net::SocketAddrExt as _, unix::ffi::OsStrExt as _, unix::net},
    process,
    time::Duration,
};

/// Ready to serve.
pub const READY: &str = "READY=1";
/// On the way out.
pub const STOPPING: &str = "STOPPING=1";
/// Still alive, for `WatchdogSec=`.
pub const WATCHDOG: &str = "WATCHDOG=1";

/// Tells systemd that we live, twice within the time after which it would think otherwise (`WatchdogSec=`).
pub fn keep_telling() {
    let number = |name| env::var(name).ok().and_then(|told| told.parse::<u64>().ok());
    let of_others = number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(process::id()));
    let Some(within) = number("WATCHDOG_USEC").filter(|within| *within > 0 && !of_others) else { return };
    #[expect(clippy::disallowed_methods, reason = "it ends with the process, and holds up nothing")]
    tokio::spawn(async move {
        let mut beat = tokio::time::interval(Duration::from_micros(within / 2));
        loop {
            beat.tick().await;
            tell(WATCHDOG);
        }
    });
}

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
