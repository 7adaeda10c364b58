//! The daemons as they are measured: built with the profile that users get.

use std::path::PathBuf;

use anyhow::Result;

use crate::command::{self, SHIPPED, cargo};

/// Builds all binaries of these packages.
pub(super) fn build<'a>(packages: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let mut build = cargo(["build", "--bins", "--profile", SHIPPED]);
    build.args(packages.into_iter().flat_map(|package| ["--package", package]));
    command::run(&mut build)
}

/// Where the build put this one.
pub(super) fn binary(name: &str) -> Result<PathBuf> {
    Ok(command::target()?.join(SHIPPED).join(name))
}
