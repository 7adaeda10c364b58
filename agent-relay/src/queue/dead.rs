//! Dead letters: what the other side refused for good, or what grew too old. Each is a file of its own.
//!
//! The file is one line of JSON that says who, when and why, the record's head in it; then the body as it came.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::{now_ms, store::Stored};

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
type Letter = (String, Vec<u8>, Vec<u8>);

/// The folder of the dead letters.
pub(crate) struct Dead {
    folder: PathBuf,
}

impl Dead {
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned() })
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
            body_bytes: stored.body.len() as u64,
            head: STANDARD.encode(&stored.head),
        };
        let mut line = serde_json::to_vec(&letter)?;
        line.push(b'\n');
        let new = self.folder.join(format!("{id}.new"));
        let written = (|| {
            let mut file = File::create(&new)?;
            file.write_all(&line)?;
            file.write_all(&stored.body)?;
            file.sync_all()?;
            fs::rename(&new, self.folder.join(format!("{id}.letter")))?;
            File::open(&self.folder)?.sync_all()
        })();
        if written.is_err() {
            fs::remove_file(&new).ok();
        }
        written
    }

    /// All of them, the oldest first.
    pub(crate) fn list(&self) -> io::Result<Vec<DeadLetter>> {
        let mut letters = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "letter")
                && let Some((letter, _)) = fs::read(&path).ok().as_deref().and_then(parse)
            {
                letters.push(letter);
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

    fn path(&self, id: &str) -> Option<PathBuf> {
        let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        is_id.then(|| self.folder.join(format!("{id}.letter")))
    }

    /// The agent, the head and the body of one.
    pub(crate) fn read(&self, id: &str) -> io::Result<Option<Letter>> {
        let Some(path) = self.path(id) else { return Ok(None) };
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let Some((letter, body)) = parse(&bytes) else { return Ok(None) };
        let head = STANDARD.decode(&letter.head).map_err(io::Error::other)?;
        Ok(Some((letter.agent, head, body.to_vec())))
    }

    /// Removes one; false when it is not there.
    pub(crate) fn remove(&self, id: &str) -> io::Result<bool> {
        let Some(path) = self.path(id) else { return Ok(false) };
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            removed => removed?,
        }
        File::open(&self.folder)?.sync_all()?;
        Ok(true)
    }
}

fn parse(bytes: &[u8]) -> Option<(DeadLetter, &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    Some((serde_json::from_slice(bytes.get(..end)?).ok()?, bytes.get(end + 1..)?))
}
