//! The few things that a log asks of a disk, so that a test can make each of them fail or be the last.

#[doc(hidden)]
#[cfg(any(test, feature = "model"))]
pub mod model;

use std::{
    fs::{self, File},
    io::{self, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
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
/// # Errors
/// What the system says; the old file is there then.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_between(path, bytes, || Ok(()))
}

/// As [`replace`]; `between` is called before the new one takes the name.
///
/// # Errors
/// What the system says, or `between`; the old file is there then.
pub fn replace_between(
    path: &Path,
    bytes: &[u8],
    between: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    take_name(path, &write_beside(path, bytes, 0o666)?, between)
}

/// As [`replace`], for nobody else to read.
///
/// # Errors
/// What the system says; the old file is there then.
pub fn replace_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    take_name(path, &write_beside(path, bytes, 0o600)?, || Ok(()))
}

fn write_beside(path: &Path, bytes: &[u8], mode: u32) -> io::Result<PathBuf> {
    let beside = path.with_extension("new");
    // One that a crash left may be open to others.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(beside)
}

fn take_name(path: &Path, beside: &Path, between: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    between()?;
    fs::rename(beside, path)?;
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
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_private_is_so_whatever_a_crash_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        fs::write(folder.path().join("key.new"), "left").unwrap();
        replace_private(&path, b"one").unwrap();
        replace_private(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

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
