//! Tells systemd how the daemon fares (sd_notify(3)), when it asked to be told.

use std::{
    env,
    ffi::OsStr,
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{fd::BorrowedFd, unix::ffi::OsStrExt as _},
    process,
    time::Duration,
};

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, sendmsg_addr, socket_with,
};

/// Ready to serve. [`crate::daemon::ready`] says it.
pub(crate) const READY: &str = "READY=1";
/// On the way out.
pub(crate) const STOPPING: &str = "STOPPING=1";
/// Still alive, for `WatchdogSec=`.
const WATCHDOG: &str = "WATCHDOG=1";

/// Tells systemd that we live, twice within the time after which it would think otherwise (`WatchdogSec=`).
pub(crate) fn keep_telling() {
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

/// Tells systemd which process it is to watch from now on.
pub fn main_process(pid: u32) {
    tell(&format!("MAINPID={pid}"));
}

/// Sends a state to `NOTIFY_SOCKET`. Without that variable, or when nobody listens, nothing happens:
/// the daemon does not depend on being watched.
pub(crate) fn tell(state: &str) {
    tell_with(state, None);
}

/// The same, with a descriptor for systemd to keep a copy of.
pub(crate) fn tell_with(state: &str, descriptor: Option<BorrowedFd<'_>>) {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&path, state, descriptor) {
        tracing::debug!(%error, state, "notify failed");
    }
}

fn send(path: &OsStr, state: &str, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let address = match path.as_bytes().split_first() {
        Some((b'@', name)) => SocketAddrUnix::new_abstract_name(name)?,
        _ => SocketAddrUnix::new(path)?,
    };
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.as_slice();
    if !descriptors.is_empty() && !rights.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg_addr(&socket, &address, &[IoSlice::new(state.as_bytes())], &mut rights, SendFlags::empty())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        net::TcpListener,
        os::{fd::AsFd as _, unix::net::UnixDatagram},
    };

    use super::*;

    #[test]
    fn a_state_is_told_with_and_without_a_descriptor() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let mut told = [0; 32];
        send(path.as_os_str(), READY, None).unwrap();
        let length = manager.recv(&mut told).unwrap();
        assert_eq!(&told[..length], READY.as_bytes());

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        send(path.as_os_str(), "FDSTORE=1", Some(listener.as_fd())).unwrap();
        let length = manager.recv(&mut told).unwrap();
        assert_eq!(&told[..length], b"FDSTORE=1");
    }
}
