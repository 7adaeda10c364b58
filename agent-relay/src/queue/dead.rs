//! Dead letters: what the other side refused for good, or what grew too old. Each is a file of its own.
//!
//! The file is one line of JSON that says who, when and why, the record's head in it; then the body as it came.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::quiet::Quiet;
use serde::{Deserialize, Serialize};

use super::{now_ms, store::Stored};
use crate::content::Content;

/// What is said of a dead letter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DeadLetter {
    /// Its name, for the commands.
    pub(crate) id: String,
    pub(crate) agent: String,
    pub(crate) reason: String,
    pub(crate) accepted_ms: u64,
    pub(crate) died_ms: u64,
    pub(crate) body_bytes: u64,
    head: String,
}

/// The agent, the head and the body of a dead letter.
type Letter = (String, Vec<u8>, Content);

/// The folder of the dead letters.
pub(crate) struct Dead {
    folder: PathBuf,
    most_bytes: AtomicU64,
    bytes: AtomicU64,
}

/// What a letter is called while it is put back.
const CLAIMED: &str = "claimed";
const LETTER: &str = "letter";

impl Dead {
    /// Opens the folder; letters that were about to be put back when a crash came are letters again.
    pub(crate) fn open(folder: &Path, most_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let own = Self { folder: folder.to_owned(), most_bytes: most_bytes.into(), bytes: AtomicU64::new(0) };
        let mut bytes = 0;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            bytes += entry.metadata()?.len();
            if path.extension().is_some_and(|extension| extension == CLAIMED) {
                fs::rename(&path, path.with_extension(LETTER))?;
            }
        }
        own.bytes.store(bytes, Ordering::Relaxed);
        Ok(own)
    }

    /// Another quota from now on.
    pub(crate) fn limit(&self, most_bytes: u64) {
        self.most_bytes.store(most_bytes, Ordering::Relaxed);
    }

    /// What is kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Removes the oldest letters until the rest is within nine tenths of the quota.
    fn make_room(&self) -> io::Result<()> {
        let most = self.most_bytes.load(Ordering::Relaxed);
        if self.bytes() <= most {
            return Ok(());
        }
        let mut letters: Vec<(SystemTime, PathBuf, u64)> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let about = entry.metadata()?;
            letters.push((about.modified()?, entry.path(), about.len()));
        }
        letters.sort();
        let mut left: u64 = letters.iter().map(|(.., bytes)| bytes).sum();
        let mut removed = 0_u64;
        // The newest stays, however large it is.
        letters.pop();
        for (_, path, bytes) in letters {
            if left <= most / 10 * 9 {
                break;
            }
            if path.extension().is_some_and(|extension| extension == LETTER) {
                fs::remove_file(&path)?;
                left -= bytes;
                removed += 1;
            }
        }
        self.bytes.store(left, Ordering::Relaxed);
        static QUIET: Quiet = Quiet::new(Duration::from_secs(60));
        if let Some(suppressed) = QUIET.speak(Instant::now()) {
            tracing::warn!(
                removed,
                suppressed,
                "more dead letters than dead_max_bytes; the oldest are removed"
            );
        }
        Ok(())
    }

    /// Keeps one, durably. Once more is the same as once.
    pub(crate) fn put(&self, agent: u32, name: &str, stored: &Stored, reason: &str) -> io::Result<()> {
        let id = format!("{agent}-{}", stored.position.number);
        let letter = DeadLetter {
            id: id.clone(),
            agent: name.to_owned(),
            reason: reason.to_owned(),
            accepted_ms: stored.time_ms,
            died_ms: now_ms(),
            body_bytes: stored.body.len(),
            head: STANDARD.encode(&stored.head),
        };
        let mut line = serde_json::to_vec(&letter)?;
        line.push(b'\n');
        let new = self.folder.join(format!("{id}.new"));
        let written = (|| {
            let mut file = File::create(&new)?;
            file.write_all(&line)?;
            stored.body.each(&mut |part| file.write_all(part))?;
            file.sync_all()?;
            fs::rename(&new, self.folder.join(format!("{id}.letter")))?;
            File::open(&self.folder)?.sync_all()
        })();
        if written.is_err() {
            fs::remove_file(&new).ok();
            return written;
        }
        self.bytes.fetch_add(line.len() as u64 + stored.body.len(), Ordering::Relaxed);
        if let Err(error) = self.make_room() {
            tracing::warn!(%error, "old dead letters cannot be removed");
        }
        Ok(())
    }

    /// All of them, the oldest first.
    pub(crate) fn list(&self) -> io::Result<Vec<DeadLetter>> {
        let mut letters: Vec<DeadLetter> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == LETTER) {
                letters.extend(first_line(&path).ok().and_then(|line| serde_json::from_slice(&line).ok()));
            }
        }
        letters.sort_by(|a, b| (a.died_ms, &a.id).cmp(&(b.died_ms, &b.id)));
        Ok(letters)
    }

    /// The agent and the number of each, as their names have them.
    pub(crate) fn numbers(&self) -> io::Result<Vec<(u32, u64)>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".letter")?.split_once('-'));
            numbers.extend(id.and_then(|(agent, number)| Some((agent.parse().ok()?, number.parse().ok()?))));
        }
        Ok(numbers)
    }

    fn path(&self, id: &str, extension: &str) -> Option<PathBuf> {
        let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        is_id.then(|| self.folder.join(format!("{id}.{extension}")))
    }

    /// Takes one to put it back: nobody else gets it meanwhile. Returns its agent, its head and its body.
    pub(crate) fn claim(&self, id: &str) -> io::Result<Option<Letter>> {
        let (Some(path), Some(claimed)) = (self.path(id, LETTER), self.path(id, CLAIMED)) else {
            return Ok(None);
        };
        match fs::rename(&path, &claimed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            renamed => renamed?,
        }
        let read = read(&claimed);
        if read.is_err() {
            self.unclaim(id)?;
        }
        read.map(Some)
    }

    /// It was not put back after all.
    pub(crate) fn unclaim(&self, id: &str) -> io::Result<()> {
        let (Some(path), Some(claimed)) = (self.path(id, LETTER), self.path(id, CLAIMED)) else {
            return Ok(());
        };
        fs::rename(claimed, path)
    }

    /// It was put back.
    pub(crate) fn drop_claimed(&self, id: &str) -> io::Result<()> {
        self.path(id, CLAIMED).map_or(Ok(()), |path| self.forget(&path))
    }

    /// Removes one; false when it is not there.
    pub(crate) fn remove(&self, id: &str) -> io::Result<bool> {
        let Some(path) = self.path(id, LETTER) else { return Ok(false) };
        match self.forget(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            forgotten => forgotten.map(|()| true),
        }
    }

    fn forget(&self, path: &Path) -> io::Result<()> {
        let bytes = fs::metadata(path)?.len();
        fs::remove_file(path)?;
        let less = |held: u64| Some(held.saturating_sub(bytes));
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok();
        File::open(&self.folder)?.sync_all()
    }
}

/// What is said of a letter, without its body.
fn first_line(path: &Path) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    BufReader::new(File::open(path)?).read_until(b'\n', &mut line)?;
    Ok(line)
}

/// A letter, whose body stays where it is.
fn read(path: &Path) -> io::Result<Letter> {
    let line = first_line(path)?;
    let letter: DeadLetter = serde_json::from_slice(&line)?;
    let head = STANDARD.decode(&letter.head).map_err(io::Error::other)?;
    let file = File::open(path)?;
    let at = line.len() as u64;
    let length = file.metadata()?.len().saturating_sub(at);
    Ok((letter.agent, head, Content::File { file: Arc::new(file), at, length }))
}
