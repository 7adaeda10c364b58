//! Static binaries: built for musl, with the list of what is in them, their symbols kept aside.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{closure::Closure, paths, source::Source};
use crate::command::{self, SHIPPED, cargo};

/// What they are built for: everything static, on every Linux.
const TARGET: &str = "x86_64-unknown-linux-musl";

/// What a static binary has to relocate in itself at its start takes a hundredth of the room so.
const PACKED: &str = "-Clink-arg=-Wl,-z,pack-relative-relocs";

/// Where each binary is.
pub(super) type Built = BTreeMap<String, PathBuf>;

/// Builds them into `folder`, each with its symbols and its bill of materials beside it.
pub(super) fn build(wanted: &BTreeSet<String>, source: &Source, folder: &Path) -> Result<Built> {
    ensure_target()?;
    let mut build = cargo(["build", "--quiet", "--locked", "--profile", SHIPPED, "--target", TARGET]);
    build.args(["--workspace", "--exclude", "tests", "--exclude", "xtask"]);
    build.args(wanted.iter().flat_map(|binary| ["--bin", binary]));
    let target = target_folder()?;
    paths::leave_out(&mut build, TARGET, &target, PACKED)?;
    // Dependencies in C are the same for every commit, and are not compiled anew for each.
    build.env("SOURCE_DATE_EPOCH", "0").env("WAYSIDE_SOURCE_DATE_EPOCH", source.seconds.to_string());
    command::run(&mut build)?;
    let came = target.join(TARGET).join(SHIPPED);
    let (bin, symbols) = (folder.join("bin"), folder.join("symbols"));
    for folder in [&bin, &symbols] {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let closures = Closure::read(TARGET)?;
    let mut built = Built::new();
    for name in wanted {
        let (to, apart) = (bin.join(name), symbols.join(format!("{name}.debug")));
        let closure = closures.of_binary(name)?;
        strip(&came.join(name), &to, &apart, &closure)?;
        let bill = folder.join(format!("{name}-{}.cdx.json", source.version));
        fs::write(&bill, closure.bill(name, source)?).with_context(|| format!("write {}", bill.display()))?;
        built.insert(name.clone(), to);
    }
    Ok(built)
}

/// Where cargo builds: beside ourselves unless it was told otherwise.
fn target_folder() -> Result<PathBuf> {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => Ok(folder.into()),
        None => command::target(),
    }
}

/// The standard library for the target, if this toolchain does not have it yet.
fn ensure_target() -> Result<()> {
    let libraries =
        command::read(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]))?;
    if Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }
    println!("Installing Rust's standard library for {TARGET}.");
    command::run(Command::new("rustup").args(["target", "add", TARGET]))
}

/// The binary without symbols, these beside it, and in it the list of what it was built of, in the section
/// where cargo-auditable puts it.
fn strip(from: &Path, to: &Path, symbols: &Path, closure: &Closure) -> Result<()> {
    let list = symbols.with_extension("dep-v0");
    fs::write(&list, closure.embedded()?).with_context(|| format!("write {}", list.display()))?;
    let objcopy = |args: &[&Path]| command::read(Command::new("objcopy").args(args)).map(drop);
    objcopy(&[Path::new("--only-keep-debug"), from, symbols])?;
    let mut section = std::ffi::OsString::from(".dep-v0=");
    section.push(&list);
    let flags = Path::new("--set-section-flags=.dep-v0=noload,readonly");
    let mut link = std::ffi::OsString::from("--add-gnu-debuglink=");
    link.push(symbols);
    let mut add = std::ffi::OsString::from("--add-section=");
    add.push(section);
    objcopy(&[Path::new("--strip-all"), Path::new(&add), flags, Path::new(&link), from, to])?;
    fs::remove_file(&list).with_context(|| format!("remove {}", list.display()))
}
