//! Folders of rule files: read whole, looked at for changes, and written to.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use common::disk::replace;

use crate::rule::{Home, Problem, RuleFile, RuleId, Written, parse, written};

/// What a folder was like when it was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp(Vec<(PathBuf, u64, Option<SystemTime>)>);

impl Stamp {
    /// Whether there is no file of rules.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How the files of a folder are now, without reading them. A folder that is not there is empty.
///
/// # Errors
/// When it cannot be listed.
pub fn stamp(folder: &Path) -> io::Result<Stamp> {
    let mut files = Vec::new();
    for path in files_of(folder)? {
        let Ok(told) = fs::metadata(&path) else { continue };
        files.push((path, told.len(), told.modified().ok()));
    }
    Ok(Stamp(files))
}

/// Reads all rules of a folder, with every problem of the shape of the files that are none.
pub fn read(folder: &Path, home: Home) -> (Vec<Written>, Vec<Problem>) {
    let trouble = |file: &Path, message: String| Problem {
        file: file.display().to_string(),
        key: String::new(),
        message,
    };
    let paths = match files_of(folder) {
        Ok(paths) => paths,
        Err(error) => return (Vec::new(), vec![trouble(folder, format!("cannot be listed: {error}"))]),
    };
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        match fs::read_to_string(&path) {
            Err(error) => problems.push(trouble(&path, format!("cannot be read: {error}"))),
            Ok(text) => match parse(&name, &text) {
                Ok(rule) => files.push(Written { home, file: name, rule }),
                Err(problem) => problems.push(problem),
            },
        }
    }
    (files, problems)
}

/// The file of a rule that is kept in this folder.
pub fn file(folder: &Path, id: &RuleId) -> PathBuf {
    folder.join(format!("{id}.toml"))
}

/// Keeps a rule: after this it is on disk, whole, in place of the one before it.
///
/// # Errors
/// When it cannot be written; the one before it is there still.
pub fn keep(folder: &Path, id: &RuleId, rule: &RuleFile) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    replace(&file(folder, id), written(rule).as_bytes())
}

/// Takes a rule away for good. One that is not there is away already.
///
/// # Errors
/// When it is still there.
pub fn remove(folder: &Path, id: &RuleId) -> io::Result<()> {
    match fs::remove_file(file(folder, id)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::open(folder)?.sync_all(),
    }
}

fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    // Editors leave other things beside what they write.
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_rule_is_told_and_what_is_no_file_of_rules_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| read(&folder.path().join(name), Home::ByHand);
        assert_eq!(read("none"), (Vec::new(), Vec::new()));
        fs::write(folder.path().join("a.toml"), "name = \"a\"\n").unwrap();
        fs::write(folder.path().join("a.toml~"), "what?").unwrap();
        let before = stamp(folder.path()).unwrap();
        assert_eq!(read("").0.len(), 1);
        fs::write(folder.path().join("b.toml"), "name = ").unwrap();
        fs::write(folder.path().join("c.toml"), "wakerz = 1").unwrap();
        assert_ne!(stamp(folder.path()).unwrap(), before);
        let told: Vec<_> = read("").1.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("b.toml") && told[1].contains("c.toml: wakerz"), "{told:?}");
    }

    #[test]
    fn a_rule_that_is_kept_is_there_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let given = folder.path().join("given");
        let (id, mut rule) = (RuleId::of("Build Box"), RuleFile::default());
        rule.name = "Build Box".to_owned();
        for mins in [5, 10] {
            rule.idle_time_mins = Some(mins);
            keep(&given, &id, &rule).unwrap();
            let (found, _) = read(&given, Home::Given);
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].rule, rule);
        }
        for _ in 0..2 {
            remove(&given, &id).unwrap();
            assert_eq!(read(&given, Home::Given), (Vec::new(), Vec::new()));
        }
    }
}
