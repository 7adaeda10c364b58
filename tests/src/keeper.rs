//! What systemd does with the listeners of a daemon: keeps a copy of each, and gives them to the next process.

use std::{
    collections::BTreeMap,
    io::IoSliceMut,
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::net::UnixDatagram,
    },
};

use rustix::{
    io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
};
use tempfile::TempDir;

/// Descriptors are given from this number on, out of the way of those that the daemon finds from 3 on.
const OUT_OF_THE_WAY: i32 = 100;

/// Who one daemon after the other notifies, and leaves its listeners with.
pub struct Keeper {
    socket: UnixDatagram,
    folder: TempDir,
    kept: BTreeMap<String, OwnedFd>,
}

impl Default for Keeper {
    fn default() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        Self { socket, folder, kept: BTreeMap::new() }
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

    /// The program that becomes a daemon which has what is kept (sd_listen_fds(3)), and the descriptors, which must
    /// live until it runs.
    ///
    /// # Panics
    /// When there are no descriptors to be had.
    pub fn program(&self) -> (Vec<String>, Vec<OwnedFd>) {
        let mut script = String::new();
        let mut given = Vec::new();
        for (at, kept) in self.kept.values().enumerate() {
            let copy = fcntl_dupfd_cloexec(kept, OUT_OF_THE_WAY).expect("a descriptor");
            fcntl_setfd(&copy, FdFlags::empty()).expect("it can be inherited");
            script.push_str(&format!("exec {}<&{} {1}<&-; ", 3 + at, copy.as_raw_fd()));
            given.push(copy);
        }
        script.push_str(&format!("LISTEN_PID=$$ LISTEN_FDS={} exec \"$@\"", given.len()));
        (["/bin/bash", "-c", &script, "keeper"].map(str::to_owned).to_vec(), given)
    }

    /// Hears what the daemon says until it says it is ready.
    ///
    /// # Panics
    /// When what it says cannot be heard.
    pub fn wait_until_ready(&mut self) {
        while self.hear() != "READY=1" {}
    }

    /// The names of what is kept.
    pub fn names(&self) -> Vec<&str> {
        self.kept.keys().map(String::as_str).collect()
    }

    fn hear(&mut self) -> String {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut bytes)];
        let heard = recvmsg(&self.socket, &mut into, &mut rights, RecvFlags::CMSG_CLOEXEC).expect("a state");
        let descriptor = rights.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        let said = String::from_utf8_lossy(&bytes[..heard.bytes]).into_owned();
        let name = said.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or_default().to_owned();
        if said.starts_with("FDSTOREREMOVE=1") {
            self.kept.remove(&name);
        } else if said.starts_with("FDSTORE=1") {
            self.kept.insert(name, descriptor.expect("what is to be kept"));
        }
        said
    }
}
