//! A disk that is full: nothing acknowledged is lost, nothing is refused for good, and it heals by itself.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{Read as _, Write as _},
    path::Path,
    process::Command,
};

use tempfile::TempDir;
use tests::{
    capture::{Account, Forwarder, Goproxy},
    peer, program,
};

/// A small file system of its own; mount(8) wants root.
struct Disk(TempDir);

impl Disk {
    fn mount(size: &str) -> Self {
        let folder = TempDir::new().unwrap();
        program::run(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
                .arg(folder.path()),
        );
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").args(["--lazy"]).arg(self.0.path()).status().ok();
    }
}

#[test]
fn a_full_disk_refuses_for_a_while_and_loses_nothing() {
    let disk = Disk::mount("16m");
    let filler = disk.path().join("filler");
    fs::write(&filler, vec![0; 13 << 20]).unwrap();
    let origin = peer::http_service(&[b'y'; 4000]);
    let folder = disk.path().join("store").to_string_lossy().into_owned();
    let mut forwarder = Forwarder::start(&[("DATA_DIR", &folder)]);
    let log = forwarder.daemon.as_mut().unwrap();
    log.announce("disk is full").announce("not stored").announce("sealing");
    let mut proxy = Goproxy::start("full", origin, forwarder.port, &[]);
    proxy.daemon.announce("no forwarder");

    let mut stream = peer::connect(proxy.port);
    let mut answer = vec![0; 8192];
    let mut ask = |number: usize| {
        write!(stream, "GET /{number} HTTP/1.1\r\nHost: shop\r\n\r\n").unwrap();
        let mut got = 0;
        while !answer[..got].ends_with(&[b'y'; 4000]) {
            got += stream.read(&mut answer[got..]).unwrap();
        }
    };
    (0..2000).for_each(&mut ask);
    forwarder.daemon.as_ref().unwrap().wait_for_line("disk is full");
    (2000..2500).for_each(&mut ask);
    let account = forwarder.account("full");
    assert!(account.adds_up() && account.stored < 2000, "{account:?}");
    fs::remove_file(&filler).unwrap();
    assert_eq!(forwarder.settled("full", 2500), Account { seen: 2500, stored: 2500, ..Account::default() });
    let rows = forwarder.sql("SELECT count(*) AS n, count(DISTINCT path) AS paths FROM exchanges");
    assert_eq!((rows[0]["n"].as_u64(), rows[0]["paths"].as_u64()), (Some(2500), Some(2500)));
}
