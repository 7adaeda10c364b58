//! Keeps this machine's folders out of what is built: two machines build the same, and a clone elsewhere finds what
//! an earlier one compiled.
//!
//! Dependencies only know cargo's folder, by flags that are the same for every clone. The clone and the target folder
//! are known to the workspace's own crates, whose compiler therefore runs behind this program.

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::{self, ffi::OsStrExt as _, process::CommandExt as _},
    path::{self, Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};

use crate::command::root;

/// Has the flags of the workspace's own crates, as `CARGO_ENCODED_RUSTFLAGS` has flags.
const VARIABLE: &str = "WAYSIDE_OWN_FLAGS";
/// What this program is called by cargo, which looks for it on PATH: where it lies would become part of every symbol.
const NAME: &str = "wayside-rustc";
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
    let folder = path::absolute(target_folder.join("dist-rustc")).context("find the target folder")?;
    call_me(&folder)?;
    let programs = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([folder].into_iter().chain(env::split_paths(&programs)));
    // Of those that fit, the last is taken: the target folder may lie in the clone.
    let own = [remap(&root(), "/wayside"), remap(target_folder, "/target"), flag.to_owned()];
    build
        .env("CARGO_ENCODED_RUSTFLAGS", remap(&home, "/cargo"))
        .env(
            format!("CFLAGS_{}", target.replace('-', "_")),
            format!("-ffile-prefix-map={}=/cargo", home.display()),
        )
        .env("PATH", path.context("put a folder on PATH")?)
        .env("RUSTC_WORKSPACE_WRAPPER", NAME)
        .env(VARIABLE, own.join(SEPARATOR));
    Ok(())
}

/// Gives this program that name in a folder of its own.
fn call_me(folder: &Path) -> Result<()> {
    let me = env::current_exe().context("find this program")?;
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let (link, new) = (folder.join(NAME), folder.join("new"));
    fs::remove_file(&new).ok();
    unix::fs::symlink(me, &new)
        .and_then(|()| fs::rename(&new, &link))
        .with_context(|| format!("make {}", link.display()))
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
