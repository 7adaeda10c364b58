//! A Debian userland with systemd, for tests of packages: made once by debootstrap, an image from then on.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

use crate::{command, dist::hex, tools};

/// What the image is called.
const IMAGE: &str = "wayside-test-debian:12";
const INCLUDED: &str = "curl,dbus,init-system-helpers,iproute2,man-db,procps,rpm,systemd,systemd-sysv";

/// Says of an image what is in it.
const LABEL: &str = "wayside.included";

/// Loads the image into the engine that runs, after making it if need be.
pub(crate) fn ensure_loaded() -> Result<()> {
    let label = format!("{{{{index .Config.Labels \"{LABEL}\"}}}}");
    let inspect = ["image", "inspect", "--format", &label, IMAGE];
    let told = command::read(Command::new("docker").args(inspect).stderr(Stdio::null()));
    if told.is_ok_and(|told| told.trim() == INCLUDED) {
        return Ok(());
    }
    let digest = Sha256::digest(INCLUDED);
    let archive = tools::cache()?.join(format!("debian-12-{}.tar", hex(digest.get(..4).unwrap_or_default())));
    if !archive.is_file() {
        println!("Making a Debian userland for tests.");
        make(&archive)?;
    }
    let label = format!("LABEL {LABEL}={INCLUDED}");
    let settings = [r#"CMD ["/lib/systemd/systemd"]"#, "ENV container=docker", &label];
    let settings = settings.iter().flat_map(|setting| ["--change", setting]);
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
