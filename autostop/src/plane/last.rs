//! Planes that only carry on what they had: each has a file that it holds a lock on for as long as it lives, so
//! that whoever comes after it on this machine knows when it has ended, however it did.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// The folder of these files.
#[derive(Clone, Debug)]
pub(super) struct Drains {
    folder: PathBuf,
    plane: String,
}

/// One that lives: this process. Dropped, it has ended.
#[derive(Debug)]
pub(super) struct Last {
    name: String,
    _lock: File,
}

impl Drains {
    /// Of the plane of this name, in this folder.
    pub(super) fn new(state_dir: &Path, plane: &str) -> Self {
        Self { folder: state_dir.join("draining"), plane: plane.to_owned() }
    }

    /// Begins to be one.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub(super) fn begin(&self) -> anyhow::Result<Last> {
        // Never one that was used: of that it may just be told that it has ended.
        let epoch = fastrand::u64(..);
        let name = format!("{}.{epoch:016x}", self.plane);
        let (path, hidden) =
            (self.folder.join(format!("{epoch:016x}")), self.folder.join(format!(".{epoch:016x}")));
        let written = || {
            fs::create_dir_all(&self.folder)?;
            let mut file = File::create(&hidden)?;
            file.lock()?;
            file.write_all(name.as_bytes())?;
            file.sync_all()?;
            // Nobody sees it before it is locked.
            fs::rename(&hidden, &path)?;
            File::open(&self.folder)?.sync_all()?;
            io::Result::Ok(file)
        };
        let lock = written().with_context(|| format!("write {}", path.display()))?;
        Ok(Last { name, _lock: lock })
    }

    /// The names of those that have ended.
    pub(super) fn ended(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path()).filter(|path| !is_hidden(path));
        paths.filter(|path| has_ended(path)).filter_map(|path| fs::read_to_string(path).ok()).collect()
    }

    /// Forgets one that has ended.
    pub(super) fn forget(&self, name: &str) {
        if let Some((_, epoch)) = name.rsplit_once('.')
            && epoch.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            // What stays is told once more.
            fs::remove_file(self.folder.join(epoch)).ok();
        }
    }
}

impl Last {
    /// As the control plane knows it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn has_ended(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_ended_when_its_process_let_go_of_it_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let drains = Drains::new(folder.path(), "plane-1");
        assert_eq!(drains.ended(), Vec::<String>::new());
        let (first, second) = (drains.begin().unwrap(), drains.begin().unwrap());
        let name = first.name().to_owned();
        assert!(name.starts_with("plane-1.") && name != second.name(), "{name}");
        assert_eq!(drains.ended(), Vec::<String>::new());
        drop(first);
        for _ in 0..2 {
            assert_eq!(drains.ended(), [name.as_str()]);
            drains.forget("plane-1.../../plane-id");
        }
        drains.forget(&name);
        assert_eq!(drains.ended(), Vec::<String>::new());
        drop(second);
        assert_eq!(drains.ended().len(), 1);
    }
}
