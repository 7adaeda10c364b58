//! Keeps this machine's folders out of what is built: two machines build the same, and a clone elsewhere finds what
//! an earlier one compiled.
//!
//! Dependencies only know cargo's folder, by flags that are the same for every clone. The clone and the target folder
//! are known to the workspace's own crates, whose compiler therefore runs behind this program.

use std::{
    env,
    ffi::OsString,
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};

use crate::command::root;

/// Has the flags of the workspace's own crates, as `CARGO_ENCODED_RUSTFLAGS` has flags.
const VARIABLE: &str = "WAYSIDE_OWN_FLAGS";
/// Stands between flags.
const SEPARATOR: &str = "\x1f";

fn remap(from: &Path, to: &str) -> String {
    format!("--remap-path-prefix={}={to}", from.display())
}

/// Has `build`, a cargo for this target, leave the folders out, and compile the workspace's own crates with `flag`.
pub(super) fn leave_out(build: &mut Command, target: &str, target_folder: &Path, flag: &str) -> Result<()> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let home = home.context("HOME is not set, so there is no cargo folder")?;
    // Of those that fit, the last is taken: the target folder may lie in the clone.
    let own = [remap(&root(), "/wayside"), remap(target_folder, "/target"), flag.to_owned()];
    build
        .env("CARGO_ENCODED_RUSTFLAGS", remap(&home, "/cargo"))
        .env(
            format!("CFLAGS_{}", target.replace('-', "_")),
            format!("-ffile-prefix-map={}=/cargo", home.display()),
        )
        .env("RUSTC_WORKSPACE_WRAPPER", env::current_exe().context("find this program")?)
        .env(VARIABLE, own.join(SEPARATOR));
    Ok(())
}

/// Runs the compiler with the flags of own crates, if this process was started to do that. Returns only if it was and
/// could not.
pub(crate) fn compile() -> Option<ExitCode> {
    let flags = env::var_os(VARIABLE)?;
    let mut words = env::args_os().skip(1);
    let compiler = words.next()?;
    let flags = flags.as_bytes().split(|byte| SEPARATOR.as_bytes().contains(byte));
    let flags = flags.map(|flag| OsString::from(std::ffi::OsStr::from_bytes(flag)));
    let error = Command::new(compiler).args(words).args(flags).exec();
    eprintln!("run the compiler: {error}");
    Some(ExitCode::FAILURE)
}
