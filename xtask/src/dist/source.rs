//! The source that is built: its version and its time, which everything built from it bears.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};
use jiff::{Timestamp, tz::TimeZone};

use crate::command::{self, root};

/// See the module.
pub(super) struct Source {
    /// Of the workspace, such as `0.1.0`.
    pub(super) version: String,
    /// Seconds since 1970 of the last commit to what is shipped.
    pub(super) seconds: i64,
}

impl Source {
    /// What is checked out.
    pub(super) fn here() -> Result<Self> {
        Ok(Self { version: env!("CARGO_PKG_VERSION").to_owned(), seconds: seconds(&root())? })
    }

    /// As RFC 3339.
    pub(super) fn time(&self) -> Result<String> {
        Ok(Timestamp::from_second(self.seconds).context("the time of the commit")?.to_string())
    }

    /// As strftime(3) writes it, in UTC.
    pub(super) fn date(&self, format: &str) -> Result<String> {
        let time = Timestamp::from_second(self.seconds).context("the time of the commit")?;
        Ok(time.to_zoned(TimeZone::UTC).strftime(format).to_string())
    }
}

/// What is not shipped: a commit to nothing else makes nothing of what is another.
const NOT_SHIPPED: [&str; 6] = [".ci", ".config", "docs", "fuzz", "tests", "xtask"];

/// When something that is shipped was last changed in this repository.
fn seconds(repository: &Path) -> Result<i64> {
    let mut git = Command::new("git");
    git.current_dir(repository).args(["log", "-1", "--format=%ct", "--", "."]);
    git.args(NOT_SHIPPED.map(|folder| format!(":(exclude){folder}")));
    command::read(&mut git)?.trim().parse().context("read the time of the last commit to what is shipped")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_commit_to_what_is_not_shipped_changes_no_time() {
        let folder = tempfile::tempdir().unwrap();
        let git = |time: &str, words: &[&str]| {
            let mut git = Command::new("git");
            git.current_dir(folder.path()).args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(words);
            command::read(git.env("GIT_COMMITTER_DATE", format!("@{time} +0000"))).unwrap();
        };
        git("0", &["init", "--quiet"]);
        for (time, file) in
            [("1000", "goproxy/src/main.rs"), ("2000", "docs/a.md"), ("3000", "tests/src/lib.rs")]
        {
            fs::create_dir_all(folder.path().join(file).parent().unwrap()).unwrap();
            fs::write(folder.path().join(file), time).unwrap();
            git(time, &["add", "."]);
            git(time, &["commit", "--quiet", "--message", file]);
            assert_eq!(seconds(folder.path()).unwrap(), 1000, "after a commit of {file}");
        }
        fs::write(folder.path().join("Cargo.lock"), "").unwrap();
        git("4000", &["add", "."]);
        git("4000", &["commit", "--quiet", "--message", "a crate"]);
        assert_eq!(seconds(folder.path()).unwrap(), 4000);
    }
}
