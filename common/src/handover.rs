//! Hands listening sockets over to another binary: no connection is refused at any time.
//!
//! They travel through a socket that the other binary finds as its standard input. Either it serves beside this
//! process until this one has ended what is open, and says by that socket when it begins: until then nothing has
//! changed here. Or it takes the place of this one, under the same process id, where two must never be at once.

use std::{
    env, fs, io,
    io::{IoSlice, IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    net::{Shutdown, TcpListener},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            net::UnixStream,
            process::{CommandExt as _, parent_id},
        },
    },
    path::PathBuf,
    process::{Child, Command, Stdio, id},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// Has the id of the process that hands over: the parent of the one that takes over, or its own.
const VARIABLE: &str = "WAYSIDE_HANDOVER";
/// So many sockets travel at once; more do so one after the other.
const AT_ONCE: usize = 64;

/// The process before this one, until it was told that this one serves.
static PREDECESSOR: Mutex<Option<UnixStream>> = Mutex::new(None);

/// The sockets that were handed over to this process, if any were.
///
/// # Errors
/// When it was told of some and cannot have them.
pub(crate) fn receive() -> io::Result<Vec<TcpListener>> {
    let told = env::var(VARIABLE).ok().and_then(|told| told.parse().ok());
    let is_beside = told == Some(parent_id());
    if !is_beside && told != Some(id()) {
        return Ok(Vec::new());
    }
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let listeners = take(&socket)?;
    if is_beside {
        *PREDECESSOR.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
    }
    Ok(listeners)
}

/// Tells the process before this one, if there is one, that this one serves.
pub fn serving() {
    let predecessor = PREDECESSOR.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(mut predecessor) = predecessor
        && let Err(error) = predecessor.write_all(b"!")
    {
        tracing::warn!(%error, "who handed over does not hear that this process serves");
    }
}

fn take(socket: &UnixStream) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let heard = recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut rights, RecvFlags::CMSG_CLOEXEC)?;
        for message in rights.drain() {
            if let RecvAncillaryMessage::ScmRights(sockets) = message {
                listeners.extend(sockets.map(TcpListener::from));
            }
        }
        if heard.bytes == 0 {
            return Ok(listeners);
        }
    }
}

fn give(socket: &UnixStream, listeners: &[TcpListener]) -> io::Result<()> {
    for some in listeners.chunks(AT_ONCE) {
        let sockets: Vec<_> = some.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        if !rights.push(SendAncillaryMessage::ScmRights(&sockets)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        sendmsg(socket, &[IoSlice::new(b"!")], &mut rights, SendFlags::empty())?;
    }
    socket.shutdown(Shutdown::Write)
}

/// The binary that is to take over: the file where this one was.
#[derive(Clone, Debug)]
pub struct Successor(PathBuf);

/// A binary that was started and does not serve yet. Dropped before it does, it is ended.
#[derive(Debug)]
pub struct Beginning {
    process: Option<Child>,
    socket: UnixStream,
}

impl Successor {
    /// Asked at the start: later the file may be another one, which then is the successor.
    ///
    /// # Errors
    /// When the system does not say where this binary is.
    pub fn new() -> io::Result<Self> {
        env::current_exe().map(Self)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.0);
        // systemd's watchdog is told by whoever is its main process, whichever that is.
        command.args(env::args_os().skip(1)).env_remove("WATCHDOG_PID").env_remove(VARIABLE);
        command
    }

    /// Whether it is there, runs, and can use the configuration. Blocks until that is known.
    ///
    /// # Errors
    /// What it said itself.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(fs::metadata(&self.0).is_ok(), "{} is not there", self.0.display());
        let output = self.command().arg("--check").stdin(Stdio::null()).output().context("run it")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    /// Starts it with these sockets, and with the arguments and the environment of this process. Not for the first
    /// process of a container, with which the other one would end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, listeners: &[TcpListener]) -> io::Result<Beginning> {
        let (mut command, own) = self.with(listeners)?;
        Ok(Beginning { process: Some(command.spawn()?), socket: own })
    }

    /// Becomes it, with these sockets, and with the arguments and the environment of this process. Nothing of what
    /// is open is ended by that, it is dropped. Returns only if it failed.
    pub fn take_place(&self, listeners: &[TcpListener]) -> io::Error {
        match self.with(listeners) {
            Ok((mut command, _own)) => command.exec(),
            Err(error) => error,
        }
    }

    /// How it is run, and this end of the socket that has these listeners in it.
    fn with(&self, listeners: &[TcpListener]) -> io::Result<(Command, UnixStream)> {
        let (own, its) = UnixStream::pair()?;
        give(&own, listeners)?;
        let mut command = self.command();
        command.env(VARIABLE, id().to_string()).stdin(Stdio::from(OwnedFd::from(its)));
        Ok((command, own))
    }
}

impl Beginning {
    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.as_ref().map(Child::id).unwrap_or_default()
    }

    /// Blocks until it serves; from then on it lives on its own.
    ///
    /// # Errors
    /// When it ends before, or does not within this time.
    pub fn wait(mut self, most: Duration) -> anyhow::Result<()> {
        self.socket.set_read_timeout(Some(most))?;
        let heard = self.socket.read(&mut [0]).context("it does not serve in time")?;
        ensure!(heard > 0, "it ended before it served");
        self.process = None;
        Ok(())
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            process.kill().ok();
            process.wait().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sockets_arrive_and_listen_all_the_while() {
        let (own, its) = UnixStream::pair().unwrap();
        let listeners: Vec<_> = (0..150).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        give(&own, &listeners).unwrap();
        drop(listeners);
        for address in &addresses {
            std::net::TcpStream::connect(address).unwrap();
        }
        let arrived = take(&its).unwrap();
        let arrived: Vec<_> = arrived.iter().map(|listener| listener.local_addr().unwrap()).collect();
        assert_eq!(arrived, addresses);
    }

    #[test]
    fn one_that_ends_before_it_serves_is_no_successor() {
        for program in ["/bin/true", "/bin/false"] {
            let successor = Successor(program.into());
            let error = successor.start(&[]).unwrap().wait(Duration::from_secs(30)).unwrap_err();
            assert!(error.to_string().contains("ended before"), "{error:#}");
        }
        let gone = Successor("/nowhere/at/all".into());
        assert!(gone.check().unwrap_err().to_string().contains("not there"));
        assert!(Successor("/bin/false".into()).check().is_err());
        assert!(Successor("/bin/true".into()).check().is_ok());
    }
}
