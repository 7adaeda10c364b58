//! The source that is built: its version and its time, which everything built from it bears.

use std::process::Command;

use anyhow::{Context, Result};
use jiff::{Timestamp, tz::TimeZone};

use crate::command::{self, root};

/// See the module.
pub(super) struct Source {
    /// Of the workspace, such as `0.1.0`.
    pub(super) version: String,
    /// Seconds of the commit since 1970.
    pub(super) seconds: i64,
}

impl Source {
    /// The commit that is checked out.
    pub(super) fn here() -> Result<Self> {
        let git = ["log", "-1", "--format=%ct"];
        let told = command::read(Command::new("git").current_dir(root()).args(git))?;
        let seconds = told.trim().parse().context("read the time of the commit")?;
        Ok(Self { version: env!("CARGO_PKG_VERSION").to_owned(), seconds })
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
