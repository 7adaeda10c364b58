//! A log of records that are durable before anybody acts on them, and the same after `kill -9` at any byte.
//!
//! A journal is a folder with one file, `journal`, and a `lock`. The file is text: a head line and then one line
//! for each group of records that was appended at once.
//!
//! ```text
//! wayside journal 1 5f0c9a3e 9d3cb2a1
//! @5f0c9a3e 1 17 0a1b2c3d [{"port":56000}]
//! @5f0c9a3e 2 35 4e5f6071 [{"port":56001},{"port":56002}]
//! ```
//! The head has a mark, drawn at random for each file, and a CRC-32. A group has the mark, its number, the length
//! of its JSON, a CRC-32 over all that, and a JSON list. A group is read back whole or not at all. No text in a
//! record can pass for a group, since nobody outside knows the mark.
//!
//! A group is written only after the one before it is on disk. So what cannot be read at the end of the file was
//! never acknowledged, and is cut off; what cannot be read before a group that can was damaged, and is refused.
//!
//! Rotation writes a new file with a snapshot as its only group, and renames it over the old one.

mod frame;

use std::{
    fs::{File, TryLockError},
    io,
    marker::PhantomData,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use common::disk::{self, Disk, FileSystem, LogFile};
use serde::{Serialize, de::DeserializeOwned};

const FILE: &str = "journal";
const NEW: &str = "journal.new";
const LOCK: &str = "lock";
const LOCK_TRIES: usize = 25;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A journal of records `T`, open for appending. There is one per folder at a time.
///
/// All calls block on the disk; a rotation takes as long as its snapshot is to write.
pub struct Journal<T> {
    folder: PathBuf,
    disk: Box<dyn Disk>,
    state: State,
    mark: u32,
    /// The number of the next group.
    next: u64,
    /// How much of the file is on disk and whole.
    good_bytes: u64,
    /// Held for as long as the journal is open.
    _lock: Option<File>,
    records: PhantomData<fn(T)>,
}

/// What must be done before the next append.
enum State {
    /// Nothing.
    Ready(Box<dyn LogFile>),
    /// An append failed and may have left a part of itself: the file is cut back first.
    Torn(Box<dyn LogFile>),
    /// A new file may or may not have taken the name: both are whole, and the folder has to say which it is.
    Renaming,
}

/// What a journal held when it was opened.
#[derive(Debug, PartialEq, Eq)]
pub struct Recovered<T> {
    /// Every record since the last snapshot, that included, in order.
    pub records: Vec<T>,
    /// Bytes at the end that were never acknowledged, and are gone now.
    pub torn_bytes: u64,
    /// What was damaged, when it was salvaged.
    pub damage: Option<Damage>,
}

/// Damage in what was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Bytes that cannot be read.
    pub lost_bytes: u64,
    /// Groups that are missing, as far as the numbers of the others tell.
    pub lost_groups: u64,
    /// Where the damaged file was put aside; nothing deletes it.
    pub kept: PathBuf,
}

/// Why a journal cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk.
    #[error("{doing} {path}")]
    Disk {
        /// What was attempted.
        doing: &'static str,
        /// On what.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process has it open.
    #[error("{0} is in use by another process")]
    InUse(String),
    /// Acknowledged records are damaged. Nothing was changed; [`Journal::salvage`] goes on with the others.
    #[error("{path} is damaged at byte {at}: {lost_bytes} bytes cannot be read")]
    Damaged {
        /// Its path.
        path: String,
        /// Where the damage begins.
        at: u64,
        /// How much it is.
        lost_bytes: u64,
    },
    /// A whole group is not of the records that are kept here: written by another version, or for something else.
    #[error("{path} holds other records, from byte {at} on")]
    Foreign {
        /// Its path.
        path: String,
        /// Where.
        at: u64,
        /// What does not fit.
        #[source]
        source: serde_json::Error,
    },
    /// A record that cannot be told in JSON; nothing was written.
    #[error("put a record into JSON")]
    Record(#[source] serde_json::Error),
    /// More than [`MOST_GROUP_BYTES`] at once; nothing was written.
    #[error("a group of {0} bytes is too long")]
    TooLong(usize),
}

/// The longest group, in bytes of JSON. A snapshot is one group.
pub const MOST_GROUP_BYTES: usize = 1 << 30;

impl Error {
    /// Whether the disk, a quota or a limit is full: it may pass.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let Self::Disk { source, .. } = self else { return false };
        matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge)
    }
}

impl<T: Serialize + DeserializeOwned> Journal<T> {
    /// Opens the journal in this folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::Damaged`] when acknowledged records cannot be read, and anything else that is wrong.
    pub fn open(folder: &Path) -> Result<(Self, Recovered<T>), Error> {
        let lock = lock(folder)?;
        Self::open_on(Box::new(FileSystem), folder, Some(lock), false)
    }

    /// As [`Journal::open`], but damage is put aside and told, and every record that can be read is kept.
    ///
    /// # Errors
    /// The disk, or another process.
    pub fn salvage(folder: &Path) -> Result<(Self, Recovered<T>), Error> {
        let lock = lock(folder)?;
        Self::open_on(Box::new(FileSystem), folder, Some(lock), true)
    }

    fn open_on(
        disk: Box<dyn Disk>,
        folder: &Path,
        lock: Option<File>,
        salvage: bool,
    ) -> Result<(Self, Recovered<T>), Error> {
        let path = folder.join(FILE);
        let told = path.display().to_string();
        let file = match disk.read(&path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(Error::Disk { doing: "read", path: told, source }),
        };
        let contents = file.as_ref().map(|file| frame::read(file)).unwrap_or_default();
        if let (Some(at), false) = (contents.damaged_at, salvage) {
            return Err(Error::Damaged { path: told, at, lost_bytes: contents.lost_bytes });
        }
        let mut records = Vec::new();
        for group in &contents.groups {
            let group_records: Vec<T> = serde_json::from_slice(group.json)
                .map_err(|source| Error::Foreign { path: told.clone(), at: group.at, source })?;
            records.extend(group_records);
        }
        let mut journal = Self {
            folder: folder.to_owned(),
            disk,
            state: State::Renaming,
            mark: 0,
            next: 0,
            good_bytes: 0,
            _lock: lock,
            records: PhantomData,
        };
        let mut recovered = Recovered { records, torn_bytes: contents.torn_bytes, damage: None };
        if contents.damaged_at.is_some() {
            let kept = journal.put_aside(&path)?;
            let (lost_bytes, lost_groups) = (contents.lost_bytes, contents.lost_groups);
            recovered.damage = Some(Damage { lost_bytes, lost_groups, kept });
        }
        if file.is_none() || recovered.damage.is_some() {
            journal.rotate(&recovered.records)?;
        } else {
            // The rename that a crash cut short may not be durable yet.
            journal.settle()?;
        }
        Ok((journal, recovered))
    }

    /// A second name for the damaged file, so that the first one is never missing.
    fn put_aside(&mut self, path: &Path) -> Result<PathBuf, Error> {
        for number in 1_u32.. {
            let kept = self.folder.join(format!("{FILE}.damaged-{number}"));
            match self.disk.link(path, &kept) {
                Ok(()) => return Ok(kept),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(failed("put aside", path)(source)),
            }
        }
        Err(failed("put aside", path)(io::ErrorKind::AlreadyExists.into()))
    }

    /// Appends these records; all of them are durable when it returns, or none of them is kept.
    ///
    /// # Errors
    /// A full disk and the like. The journal stays as it was before, and can be used again when that has passed.
    pub fn append(&mut self, records: &[T]) -> Result<(), Error> {
        if records.is_empty() {
            return Ok(());
        }
        let json = json(records)?;
        self.settle()?;
        let group = frame::group(self.mark, self.next, &json);
        let path = self.folder.join(FILE);
        let State::Ready(mut file) = std::mem::replace(&mut self.state, State::Renaming) else {
            return Err(failed("append to", &path)(io::ErrorKind::Other.into()));
        };
        match file.append(&group).and_then(|()| file.sync()) {
            Ok(()) => {
                self.state = State::Ready(file);
                self.next += 1;
                self.good_bytes += group.len() as u64;
                Ok(())
            }
            Err(source) => {
                self.state = State::Torn(file);
                // At once if it can be, so that a crash does not bring back what was told to have failed.
                self.settle().ok();
                Err(failed("append to", &path)(source))
            }
        }
    }

    /// Replaces everything by these records, which bring a new beginning to where the old records had come.
    ///
    /// # Errors
    /// As of [`Journal::append`]: the journal then holds either the old records or the new ones.
    pub fn rotate(&mut self, snapshot: &[T]) -> Result<(), Error> {
        let json = json(snapshot)?;
        let mark = fastrand::u32(..);
        let mut content = frame::head(mark).into_bytes();
        content.extend_from_slice(&frame::group(mark, 1, &json));
        let (new, path) = (self.folder.join(NEW), self.folder.join(FILE));
        self.write(&new, &content).map_err(failed("write", &new))?;
        // From here on the folder has to say which of the two files the name means.
        self.state = State::Renaming;
        self.disk.rename(&new, &path).map_err(failed("rename", &new))?;
        self.settle()
    }

    /// Writes a whole file and makes its content durable. Its name is not.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.disk.create(path)?;
        let written = file.append(bytes).and_then(|()| file.sync());
        if written.is_err() {
            // What a full disk needs least.
            self.disk.remove(path).ok();
        }
        written
    }

    /// Makes the file ready to be appended to, whatever happened to it before.
    fn settle(&mut self) -> Result<(), Error> {
        let path = self.folder.join(FILE);
        match std::mem::replace(&mut self.state, State::Renaming) {
            State::Ready(file) => self.state = State::Ready(file),
            State::Torn(mut file) => {
                if let Err(source) = file.truncate(self.good_bytes).and_then(|()| file.sync()) {
                    self.state = State::Torn(file);
                    return Err(failed("cut back", &path)(source));
                }
                self.state = State::Ready(file);
            }
            State::Renaming => {
                self.disk.sync_folder(&self.folder).map_err(failed("make durable", &self.folder))?;
                let content = self.disk.read(&path).map_err(failed("read", &path))?;
                let contents = frame::read(&content);
                if let Some(at) = contents.damaged_at {
                    let path = path.display().to_string();
                    return Err(Error::Damaged { path, at, lost_bytes: contents.lost_bytes });
                }
                (self.mark, self.next, self.good_bytes) = (contents.mark, contents.next, contents.good_bytes);
                self.state = State::Torn(self.disk.extend(&path).map_err(failed("open", &path))?);
                return self.settle();
            }
        }
        Ok(())
    }

    /// Length of the file; rotate when it has grown well beyond what a snapshot takes.
    pub fn bytes(&self) -> u64 {
        self.good_bytes
    }
}

fn json<T: Serialize>(records: &[T]) -> Result<Vec<u8>, Error> {
    let json = serde_json::to_vec(records).map_err(Error::Record)?;
    if json.len() > MOST_GROUP_BYTES { Err(Error::TooLong(json.len())) } else { Ok(json) }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.display().to_string();
    move |source| Error::Disk { doing, path, source }
}

/// Makes the folder, and keeps every other process out of it.
fn lock(folder: &Path) -> Result<File, Error> {
    disk::make_folder(folder).map_err(failed("make", folder))?;
    let path = folder.join(LOCK);
    let file = File::options().create(true).append(true).open(&path).map_err(failed("open", &path))?;
    // A child that was forked and has not become its own program yet holds the lock a moment longer.
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(source)) => return Err(failed("lock", &path)(source)),
        }
    }
    Err(Error::InUse(folder.display().to_string()))
}

/// What must hold of any file, for the fuzzers.
pub(crate) fn attack(file: &[u8]) {
    let whole = frame::read(file);
    let length = file.len() as u64;
    assert!(whole.good_bytes + whole.torn_bytes <= length.max(whole.good_bytes), "more than there is");
    assert!(
        whole.groups.iter().all(|group| group.at + (group.json.len() as u64) <= length),
        "outside of the file"
    );
    if whole.damaged_at.is_none() {
        let kept =
            usize::try_from(whole.good_bytes).ok().and_then(|good| file.get(..good)).unwrap_or_default();
        assert_eq!(frame::read(kept).groups, whole.groups, "without its torn tail it holds the same");
    }
}

#[cfg(test)]
mod tests;
