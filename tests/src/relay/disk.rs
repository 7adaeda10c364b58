//! A disk that is soon full.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    process::Command,
};

use nix::sys::statvfs::statvfs;
use tempfile::TempDir;

use crate::program;

/// A small file system of its own; mount(8) wants root.
pub struct Disk(TempDir);

impl Disk {
    /// So large a one, such as `8m`.
    ///
    /// # Panics
    /// When it cannot be mounted.
    pub fn mount(size: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let options = format!("size={size}");
        program::run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path()));
        Self(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Disk {
    /// Fills what is free of it but for so many bytes at most; less when somebody else is faster.
    ///
    /// # Panics
    /// When it cannot be written to.
    pub fn fill(&self, but: u64) {
        let about = statvfs(self.path()).expect("it is mounted");
        let free = about.blocks_free() * about.fragment_size();
        let mut filler = File::options().create(true).append(true).open(self.filler()).expect("a file");
        let block = vec![0; 4 << 10];
        for _ in 0..free.saturating_sub(but) / block.len() as u64 {
            match filler.write_all(&block) {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return,
                written => written.expect("it is written"),
            }
        }
    }

    /// Gives the room back.
    pub fn free(&self) {
        fs::remove_file(self.filler()).ok();
    }

    fn filler(&self) -> std::path::PathBuf {
        self.path().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").args(["--lazy"]).arg(self.0.path()).status().ok();
    }
}
