//! Hands the listening sockets over to another binary, which takes the place of this one under the same process id.
//!
//! They travel through a socket that the other binary finds as its standard input: connections that come meanwhile
//! wait in the kernel, and none is refused.

use std::{
    env, fs, io,
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::PathBuf,
    process::{Command, Stdio, id},
};

use anyhow::{Context as _, ensure};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// Has the id of the process whose standard input has sockets in it.
const VARIABLE: &str = "WAYSIDE_HANDOVER";
/// So many sockets at most.
const MOST: usize = 64;

/// The sockets that were handed over to this process, until each finds its place.
#[derive(Debug, Default)]
pub(super) struct Inherited(Vec<TcpListener>);

impl Inherited {
    /// What the standard input has, if this process was told that it has something.
    pub(super) fn take() -> io::Result<Self> {
        if env::var(VARIABLE).ok().and_then(|told| told.parse().ok()) != Some(id()) {
            return Ok(Self::default());
        }
        receive(io::stdin().as_fd()).map(Self)
    }

    /// The socket for this address, if there is one. Port 0 is any.
    pub(super) fn find(&mut self, wanted: SocketAddr) -> Option<TcpListener> {
        let is_it = |listener: &TcpListener| {
            let port = |known: SocketAddr| wanted.port() == 0 || known.port() == wanted.port();
            // Where there is no IPv6, everywhere is 0.0.0.0.
            let ip = |known: SocketAddr| {
                known.ip() == wanted.ip() || (known.ip().is_unspecified() && wanted.ip().is_unspecified())
            };
            listener.local_addr().is_ok_and(|known| port(known) && ip(known))
        };
        let at = self.0.iter().position(is_it)?;
        Some(self.0.remove(at))
    }
}

fn receive(socket: impl AsFd) -> io::Result<Vec<TcpListener>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut rights, RecvFlags::CMSG_CLOEXEC)?;
    let mut listeners = Vec::new();
    for message in rights.drain() {
        if let RecvAncillaryMessage::ScmRights(sockets) = message {
            listeners.extend(sockets.map(TcpListener::from));
        }
    }
    Ok(listeners)
}

fn send(socket: impl AsFd, listeners: &[TcpListener]) -> io::Result<()> {
    let sockets: Vec<_> = listeners.iter().take(MOST).map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    if !rights.push(SendAncillaryMessage::ScmRights(&sockets)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(socket, &[IoSlice::new(b"!")], &mut rights, SendFlags::empty())?;
    Ok(())
}

/// The binary that is to take over: the file where this one was.
#[derive(Debug)]
pub(super) struct Successor(PathBuf);

impl Successor {
    /// Asked at the start: later the file may be another one, which then is the successor.
    pub(super) fn new() -> io::Result<Self> {
        env::current_exe().map(Self)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.0);
        command.args(env::args_os().skip(1));
        command
    }

    /// Whether it is there, runs, and can use the configuration.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(fs::metadata(&self.0).is_ok(), "{} is not there", self.0.display());
        let output = self.command().arg("--check").stdin(Stdio::null()).output().context("run it")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    /// Becomes it. Returns only if that failed.
    pub(super) fn become_it(&self, listeners: &[TcpListener]) -> io::Error {
        let handed = UnixStream::pair().and_then(|(own, its)| send(&own, listeners).map(|()| its));
        match handed {
            Ok(its) => {
                self.command().env(VARIABLE, id().to_string()).stdin(Stdio::from(OwnedFd::from(its))).exec()
            }
            Err(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_find_their_places_on_the_other_side() {
        let (own, its) = UnixStream::pair().unwrap();
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses = [0, 1].map(|index: usize| listeners[index].local_addr().unwrap());
        send(&own, &listeners).unwrap();
        drop(listeners);
        let mut inherited = Inherited(receive(&its).unwrap());
        // It listens all the while.
        std::net::TcpStream::connect(addresses[1]).unwrap();
        let found = inherited.find(addresses[1]).unwrap();
        assert_eq!(found.local_addr().unwrap(), addresses[1]);
        assert!(inherited.find(addresses[1]).is_none(), "each once");
        assert!(inherited.find(SocketAddr::from(([127, 0, 0, 1], 0))).is_some());
    }
}
