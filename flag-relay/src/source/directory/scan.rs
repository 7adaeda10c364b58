//! Looks through the folder, and reads what is not as it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{
    shape::Environment,
    source::{
        layout::{self, Files},
        readable::{self, Format},
    },
};

/// The largest file that is read.
const MOST_FILE_BYTES: u64 = 256 << 20;

/// What a file was when it was read: whether it was there, its place, its size and its time.
type Mark = Option<(u64, u64, i64, i64)>;

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Environments that are not as they were, or were not taken last time.
    pub changed: Vec<Environment>,
    /// What is wrong, by environment or file.
    pub problems: BTreeMap<String, Vec<String>>,
    /// The ids of all environments for which there is something, right or wrong.
    pub present: BTreeSet<String>,
    /// Something is wrong that may be any environment.
    pub is_unsure: bool,
}

#[derive(Debug)]
struct Known {
    marks: Vec<Mark>,
    /// Empty when nobody knows.
    id: String,
    problems: Vec<String>,
}

/// Knows what was there last time.
#[derive(Debug)]
pub struct Scanner {
    folder: PathBuf,
    known: BTreeMap<PathBuf, Known>,
}

enum Kind {
    Layout(String),
    Readable(String, Format),
}

impl Scanner {
    /// A scanner of this folder that knows nothing yet.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, known: BTreeMap::new() }
    }

    /// The folders to watch.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.known.keys().map(PathBuf::as_path).filter(|path| path.is_dir())
    }

    /// What was read of this environment was not taken: it is read again next time.
    pub fn forget(&mut self, id: &str) {
        for known in self.known.values_mut().filter(|known| known.id == id) {
            known.marks.clear();
        }
    }

    /// Looks through the folder.
    ///
    /// # Errors
    /// When the folder cannot be read or has nothing in it: that is a folder that is being written, or not mounted.
    pub fn scan(&mut self) -> anyhow::Result<Found> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.folder).with_context(|| format!("read {}", self.folder.display()))? {
            paths.push(entry.context("read the folder")?.path());
        }
        paths.sort();
        let mut found = Found::default();
        let mut seen = BTreeSet::new();
        for path in paths {
            let Some(kind) = kind(&path) else { continue };
            seen.insert(path.clone());
            self.look(path, &kind, &mut found);
        }
        anyhow::ensure!(!seen.is_empty(), "there is no environment in {}", self.folder.display());
        self.known.retain(|path, _| seen.contains(path));
        Ok(found)
    }

    fn look(&mut self, path: PathBuf, kind: &Kind, found: &mut Found) {
        let files = match kind {
            Kind::Layout(_) => [layout::KEYS, layout::FLAGS, layout::GROUPS, layout::TARGETS]
                .map(|name| path.join(name))
                .to_vec(),
            Kind::Readable(..) => vec![path.clone()],
        };
        let marks: Vec<Mark> = files.iter().map(|file| mark(file)).collect();
        let place = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some(known) = self.known.get(&path).filter(|known| known.marks == marks) {
            if !known.id.is_empty() && !found.present.insert(known.id.clone()) {
                found.problems.entry(place.clone()).or_default().push(twice(&known.id));
            }
            if !known.problems.is_empty() {
                found.is_unsure |= known.id.is_empty();
                found.problems.insert(place, known.problems.clone());
            }
            return;
        }
        let before = self.known.get(&path).map(|known| known.id.clone()).unwrap_or_default();
        let read = read(&files, kind);
        // What was written while it was read is read again next time.
        let marks =
            if files.iter().map(|file| mark(file)).eq(marks.iter().copied()) { marks } else { Vec::new() };
        let (id, problems, marks) = match read {
            Ok(environment) => {
                let id = environment.id.clone();
                if found.present.insert(id.clone()) {
                    found.changed.push(environment);
                    (id, Vec::new(), marks)
                } else {
                    // It may be its turn when the other is gone.
                    let problems = vec![twice(&id)];
                    (id, problems, Vec::new())
                }
            }
            Err(problems) => {
                // Whatever it is now, what it was stays served.
                let id = if before.is_empty() { kind.id() } else { before };
                if id.is_empty() {
                    found.is_unsure = true;
                } else {
                    found.present.insert(id.clone());
                }
                (id, problems, marks)
            }
        };
        if !problems.is_empty() {
            found.problems.insert(place, problems.clone());
        }
        self.known.insert(path, Known { marks, id, problems });
    }
}

impl Kind {
    /// The id, as far as the name says it: a file that cannot be read may say another.
    fn id(&self) -> String {
        match self {
            Self::Layout(id) => id.clone(),
            Self::Readable(..) => String::new(),
        }
    }
}

fn twice(id: &str) -> String {
    format!("another file has environment {id} already")
}

/// What begins with a dot is not ours: mounted maps keep their versions so.
fn kind(path: &Path) -> Option<Kind> {
    let name = path.file_name()?.to_str()?;
    if name.starts_with('.') {
        return None;
    }
    if path.is_dir() {
        let id = name.strip_prefix(layout::PREFIX).filter(|id| !id.is_empty())?;
        return Some(Kind::Layout(id.to_owned()));
    }
    let (stem, ending) = name.rsplit_once('.')?;
    let format = match ending {
        "yaml" | "yml" => Format::Yaml,
        "json" => Format::Json,
        _ => return None,
    };
    (!stem.is_empty()).then(|| Kind::Readable(stem.to_owned(), format))
}

fn mark(path: &Path) -> Mark {
    let told = fs::metadata(path).ok()?;
    Some((told.ino(), told.size(), told.mtime(), told.mtime_nsec()))
}

fn read(files: &[PathBuf], kind: &Kind) -> Result<Environment, Vec<String>> {
    match (kind, files) {
        (Kind::Layout(id), [keys, flags, groups, targets]) => {
            let mut problems = Vec::new();
            let mut bytes = |path: &PathBuf| match bytes(path) {
                Ok(bytes) => bytes,
                Err(error) => {
                    problems.push(format!("{}: {error}", path.display()));
                    None
                }
            };
            let (keys, flags, groups, targets) = (bytes(keys), bytes(flags), bytes(groups), bytes(targets));
            if !problems.is_empty() {
                return Err(problems);
            }
            layout::read(id, &Files { keys, flags, groups, targets })
        }
        (Kind::Readable(stem, format), [file, ..]) => {
            let read = bytes(file).map_err(|error| vec![error.to_string()])?;
            let text = String::from_utf8(read.unwrap_or_default());
            let text = text.map_err(|_| vec!["it is not UTF-8".to_owned()])?;
            readable::read(stem, &text, *format)
        }
        _ => Err(vec!["there is nothing to read".to_owned()]),
    }
}

fn bytes(path: &Path) -> io::Result<Option<Vec<u8>>> {
    if fs::metadata(path).is_ok_and(|told| told.len() > MOST_FILE_BYTES) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
