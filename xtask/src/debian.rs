//! A Debian userland with systemd, for tests of packages: made once by debootstrap, an image from then on.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};

use crate::{command, tools};

/// What the image is called.
const IMAGE: &str = "wayside-test-debian:12";
const INCLUDED: &str = "curl,dbus,init-system-helpers,iproute2,man-db,procps,systemd,systemd-sysv";

/// Loads the image into the engine that runs, after making it if need be.
pub(crate) fn ensure_loaded() -> Result<()> {
    if command::works(Command::new("docker").args(["image", "inspect", IMAGE])) {
        return Ok(());
    }
    let archive = tools::cache()?.join("debian-12.tar");
    if !archive.is_file() {
        println!("Making a Debian userland for tests.");
        make(&archive)?;
    }
    let settings = ["--change", r#"CMD ["/lib/systemd/systemd"]"#, "--change", "ENV container=docker"];
    command::read(Command::new("docker").arg("import").args(settings).arg(archive).arg(IMAGE)).map(drop)
}

fn make(archive: &Path) -> Result<()> {
    let above = archive.parent().context("the cache is a folder")?;
    fs::create_dir_all(above).context("make the cache")?;
    let build = tempfile::tempdir_in(above).context("make a folder to build in")?;
    let root = build.path().join("root");
    let words = ["--variant=minbase", "--include", INCLUDED, "bookworm"];
    command::read(Command::new("debootstrap").args(words).arg(&root))?;
    // Whole or not at all.
    let whole = build.path().join("whole.tar");
    command::read(
        Command::new("tar").arg("--create").arg("--file").arg(&whole).arg("-C").arg(&root).arg("."),
    )?;
    fs::rename(&whole, archive).context("keep the userland")
}
