//! The few things that a log asks of a disk, so that a test can make each of them fail or be the last.

#[doc(hidden)]
#[cfg(any(test, feature = "model"))]
pub mod model;

use std::{
    fs::{self, File},
    io::{self, Seek as _, SeekFrom, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
    sync::Arc,
};

/// Where files are. Every call fails with what the system says.
#[expect(clippy::missing_errors_doc, reason = "said once above")]
pub trait Disk: Send + Sync {
    /// The names in a folder, which is made durably if it is not there.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// The whole of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Opens a file to read from.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>>;
    /// Makes an empty file to append to, in place of the one that had the name. The name is not durable yet.
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;
    /// Opens a file that is there, to append to.
    fn extend(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;
    /// Gives a file another name, in place of the file that had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name, which must be free.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// A file that is appended to. Every call fails with what the system says.
#[expect(clippy::missing_errors_doc, reason = "said once above")]
pub trait LogFile: Send {
    /// Writes all of it at the end, or fails after having written any part of it.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was written durable. After an error nothing is known of what was written since the last time, and
    /// asking again tells nothing.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file back to this length, which is its end from then on.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// A file that is read from anywhere. Every call fails with what the system says.
#[expect(clippy::missing_errors_doc, reason = "said once above")]
pub trait ReadAt: Send + Sync {
    /// Fills the buffer from there on, or fails.
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Its length in bytes.
    fn length(&self) -> io::Result<u64>;
}

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileSystem;

impl Disk for FileSystem {
    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        make_folder(folder)?;
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        Ok(Arc::new(File::open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(File::create(path)?))
    }

    fn extend(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(File::options().append(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

impl LogFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)?;
        self.seek(SeekFrom::Start(length)).map(drop)
    }
}

impl ReadAt for File {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(buffer, at)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// Makes a folder and those above it, durably.
///
/// # Errors
/// What the system says.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(above)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(above)?.sync_all()
}

/// Makes the name of a new, renamed or removed file durable.
///
/// # Errors
/// What the system says.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Writes a file so that after a crash there is either the old or the new one, whole.
///
/// `between` is called before the new one takes the name.
///
/// # Errors
/// What the system says, or `between`; the old file is there then.
pub fn replace(path: &Path, bytes: &[u8], between: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    between()?;
    fs::rename(&new, path)?;
    sync_parent(path)
}

/// Whether the disk, a quota or a limit is full.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_cut_stands_where_the_file_was_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for extend in [false, true] {
            let mut file = FileSystem.create(&path).unwrap();
            if extend {
                file = FileSystem.extend(&path).unwrap();
            }
            file.append(b"whole torn").unwrap();
            file.truncate(6).unwrap();
            file.append(b"again").unwrap();
            file.sync().unwrap();
            assert_eq!(FileSystem.read(&path).unwrap(), b"whole again");
        }
    }
}
