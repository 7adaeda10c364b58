//! Builds what is shipped: static binaries, images, debs, rpms, their bills of materials and checksums.

mod binaries;
mod carried;
mod closure;
mod deb;
mod image;
pub(crate) mod paths;
mod products;
mod rpm;
mod source;
mod tree;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::{command, packages};

use self::{products::Products, source::Source};

/// Build what is shipped, under target/dist.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Only the packages and images whose names contain one of these.
    only: Vec<String>,
}

/// Where everything lies.
pub(crate) struct Dist {
    /// The folder of packages, archives, bills and checksums.
    pub(crate) folder: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    build(args).map(drop)
}

/// Builds it anew; what did not change is the same, byte for byte.
pub(crate) fn build(args: &Args) -> Result<Dist> {
    packages::ensure_installed(packages::FOR_DIST)?;
    let source = Source::here()?;
    let products = Products::read()?.only(&args.only);
    ensure!(!products.is_empty(), "nothing of that name is shipped; see packaging/products.toml");
    let folder = command::target()?.join("dist");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("clear {}", folder.display()))?;
    }
    let start = Instant::now();
    let built = binaries::build(&products.binaries(), &source, &folder)?;
    println!("binaries: {:.0} s", start.elapsed().as_secs_f64());
    for package in &products.package {
        told(&deb::build(package, &built, &source, &folder)?)?;
        told(&rpm::build(package, &built, &source, &folder)?)?;
    }
    for wanted in &products.image {
        told(&image::build(wanted, &built, &source, &folder)?)?;
    }
    write_checksums(&folder)?;
    println!("All of it is in {}.", folder.display());
    Ok(Dist { folder })
}

fn told(file: &Path) -> Result<()> {
    let bytes = fs::metadata(file).with_context(|| format!("look at {}", file.display()))?.len();
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    #[expect(clippy::cast_precision_loss, reason = "a size for people")]
    let mib = bytes as f64 / f64::from(1 << 20);
    println!("{mib:>8.1} MiB  {name}");
    Ok(())
}

/// `SHA256SUMS`, as sha256sum(1) checks it.
fn write_checksums(folder: &Path) -> Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).context("read the folder of what was built")? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    let mut lines = String::new();
    for name in names {
        let file = fs::read(folder.join(&name)).with_context(|| format!("read {name}"))?;
        lines.push_str(&format!("{}  {name}\n", hex(&Sha256::digest(&file))));
    }
    fs::write(folder.join("SHA256SUMS"), lines).context("write SHA256SUMS")
}

/// In hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
