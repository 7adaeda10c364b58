//! A Docker engine for the tests: the one that runs, or one of our own that ends with them.

use std::{
    fs::{self, File},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    child::Child,
    command::{self, root},
};

/// How long an engine may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts one unless one answers; it stops when it is dropped.
pub(crate) fn ensure_running() -> Result<Option<Child>> {
    if answers() {
        return Ok(None);
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("no Docker engine answers; start one, such as by: systemctl start docker");
    }
    let folder = root().join("target");
    fs::create_dir_all(&folder).context("make the target folder")?;
    let log = File::create(folder.join("dockerd.log")).context("write target/dockerd.log")?;
    println!("Starting a Docker engine; its log is target/dockerd.log.");
    let mut engine = Child::spawn("dockerd", &mut Command::new("dockerd"), Some(log))?;
    let deadline = Instant::now() + PATIENCE;
    while !answers() {
        engine.check_alive()?;
        if Instant::now() > deadline {
            bail!("the Docker engine does not answer; see target/dockerd.log");
        }
        thread::sleep(Duration::from_millis(200));
    }
    Ok(Some(engine))
}

fn answers() -> bool {
    command::works(Command::new("docker").arg("version"))
}
