//! The folder of rule files: read whole, checked whole, and read again when something in it changes.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::rule::{Problem, Rules, Surroundings, check, parse};

/// What a folder was like when it was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp(Vec<(PathBuf, u64, Option<SystemTime>)>);

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

/// Reads and checks all rules of a folder.
///
/// # Errors
/// Every problem of every file.
pub fn read(folder: &Path, around: &Surroundings) -> Result<Rules, Vec<Problem>> {
    let trouble = |file: &Path, message: String| Problem {
        file: file.display().to_string(),
        key: String::new(),
        message,
    };
    let paths =
        files_of(folder).map_err(|error| vec![trouble(folder, format!("cannot be listed: {error}"))])?;
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        match fs::read_to_string(&path) {
            Err(error) => problems.push(trouble(&path, format!("cannot be read: {error}"))),
            Ok(text) => match parse(&name, &text) {
                Ok(file) => files.push((name, file)),
                Err(problem) => problems.push(problem),
            },
        }
    }
    match check(&files, around) {
        Ok(rules) if problems.is_empty() => Ok(rules),
        Ok(_) => Err(problems),
        Err(more) => {
            problems.extend(more);
            Err(problems)
        }
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
    fn every_problem_of_every_file_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let around = Surroundings { providers: vec!["lab".to_owned()], tcp_ports: 56000..=56999 };
        assert!(read(&folder.path().join("none"), &around).unwrap().iter().next().is_none());
        let good = "name = \"a\"\nprovider = \"lab\"\nfilter.vm_ids = [\"a\"]\n";
        fs::write(folder.path().join("a.toml"), good).unwrap();
        fs::write(folder.path().join("a.toml~"), "what?").unwrap();
        let before = stamp(folder.path()).unwrap();
        assert_eq!(read(folder.path(), &around).unwrap().iter().count(), 1);
        fs::write(folder.path().join("b.toml"), "name = ").unwrap();
        fs::write(folder.path().join("c.toml"), "name = \"c\"\nprovider = \"lap\"\n").unwrap();
        assert_ne!(stamp(folder.path()).unwrap(), before);
        let told = read(folder.path(), &around).unwrap_err();
        let told: Vec<_> = told.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|line| line.contains("b.toml")), "{told:?}");
        assert!(told.iter().any(|line| line.contains("c.toml: provider")), "{told:?}");
        assert!(told.iter().any(|line| line.contains("c.toml: filter.vm_ids")), "{told:?}");
    }
}
