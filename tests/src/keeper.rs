//! What systemd does with the listeners of a daemon: keeps a copy of each, and gives them to the next process.

use std::{
    collections::BTreeMap,
    io::IoSliceMut,
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::net::UnixDatagram,
    },
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
};

use rustix::{
    io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
};
use tempfile::TempDir;

use crate::wait::PATIENCE;

/// Descriptors are given from this number on, out of the way of those that the daemon finds from 3 on.
const OUT_OF_THE_WAY: i32 = 100;

/// Whoever is started meanwhile would have what is given to a daemon as well: one keeper at a time.
static ALONE: Mutex<()> = Mutex::new(());

#[derive(Default)]
struct Descriptors {
    kept: BTreeMap<String, OwnedFd>,
    /// Copies for the next daemon, until it runs.
    given: Vec<OwnedFd>,
}

/// Who one daemon after the other notifies, and leaves its listeners with.
pub struct Keeper {
    folder: TempDir,
    descriptors: Arc<Mutex<Descriptors>>,
    ready: mpsc::Receiver<()>,
    _alone: MutexGuard<'static, ()>,
}

impl Default for Keeper {
    fn default() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        let (tell, ready) = mpsc::channel();
        let descriptors = Arc::<Mutex<Descriptors>>::default();
        let heard = descriptors.clone();
        // A daemon may wait until it was heard. The thread ends with the tests.
        thread::spawn(move || {
            loop {
                if hear(&socket, &heard) == "READY=1" && tell.send(()).is_err() {
                    return;
                }
            }
        });
        Self { folder, descriptors, ready, _alone: lock(&ALONE) }
    }
}

impl Keeper {
    /// What `NOTIFY_SOCKET` has to say.
    ///
    /// # Panics
    /// When the folder's name is no text.
    pub fn address(&self) -> String {
        self.folder.path().join("notify").into_os_string().into_string().expect("text")
    }

    /// The program that becomes a daemon which has what is kept (sd_listen_fds(3)).
    ///
    /// # Panics
    /// When there are no descriptors to be had.
    pub fn program(&self) -> Vec<String> {
        let mut script = String::new();
        let mut descriptors = lock(&self.descriptors);
        let mut given = Vec::new();
        for (at, kept) in descriptors.kept.values().enumerate() {
            let copy = fcntl_dupfd_cloexec(kept, OUT_OF_THE_WAY).expect("a descriptor");
            fcntl_setfd(&copy, FdFlags::empty()).expect("it can be inherited");
            script.push_str(&format!("exec {}<&{} {1}<&-; ", 3 + at, copy.as_raw_fd()));
            given.push(copy);
        }
        script.push_str(&format!("LISTEN_PID=$$ LISTEN_FDS={} exec \"$@\"", given.len()));
        descriptors.given = given;
        ["/bin/bash", "-c", &script, "keeper"].map(str::to_owned).to_vec()
    }

    /// Waits until the daemon says that it is ready.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait_until_ready(&self) {
        self.ready.recv_timeout(PATIENCE).expect("READY=1");
    }

    /// The names of what is kept.
    pub fn names(&self) -> Vec<String> {
        lock(&self.descriptors).kept.keys().cloned().collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hears the next thing that a daemon says.
fn hear(socket: &UnixDatagram, descriptors: &Mutex<Descriptors>) -> String {
    let mut bytes = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(&mut bytes)];
    let heard = recvmsg(socket, &mut into, &mut rights, RecvFlags::CMSG_CLOEXEC).expect("a state");
    let descriptor = rights.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let said = String::from_utf8_lossy(&bytes[..heard.bytes]).into_owned();
    let name = said.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or_default().to_owned();
    let mut descriptors = lock(descriptors);
    descriptors.given.clear();
    if said.starts_with("FDSTOREREMOVE=1") {
        descriptors.kept.remove(&name);
    } else if said.starts_with("FDSTORE=1") {
        descriptors.kept.insert(name, descriptor.expect("what is to be kept"));
    }
    said
}
