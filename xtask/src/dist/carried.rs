//! What a package carries beside its binaries, as far as it is not a file of packaging/.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};

use super::{products::Package, source::Source};
use crate::command::{self, root};

/// Who is responsible, as packages want to have it.
pub(super) const MAINTAINER: &str = "Wayside maintainers <maintainers@wayside.example>";
/// Where the project is at home.
pub(super) const HOME: &str = "https://wayside.example";

/// What a binary tells of itself: its manual page, its completions, an example of its configuration.
pub(super) fn told(binary: &Path, kind: &str) -> Result<Vec<u8>> {
    Ok(command::read(Command::new(binary).args(["--generate", kind]))?.into_bytes())
}

/// The manual pages of section 5 that are about what this package configures.
pub(super) fn pages(package: &Package) -> Result<Vec<String>> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(root().join("packaging/man")).context("read packaging/man")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".5") {
            continue;
        }
        let about = name.split(['.', '-']).next().unwrap_or_default();
        if package.binaries.iter().any(|binary| name.starts_with(binary.as_str()) || binary == about) {
            pages.push(name);
        }
    }
    pages.sort();
    Ok(pages)
}

/// For systemd-sysusers(8).
pub(super) fn users(package: &Package) -> String {
    let user = package.user.as_deref().unwrap_or_default();
    format!(
        "# The user of {}.\nu {user} - \"{}\" /nonexistent /usr/sbin/nologin\n",
        package.name, package.summary
    )
}

/// The folders that the units of this package keep state in.
pub(super) fn state(package: &Package) -> Result<Vec<String>> {
    let mut folders = Vec::new();
    for unit in package.services() {
        let text = fs::read_to_string(root().join("packaging/systemd").join(unit))
            .with_context(|| format!("read {unit}"))?;
        let told = text.lines().filter_map(|line| line.strip_prefix("StateDirectory="));
        folders.extend(told.map(|folder| format!("/var/lib/{folder}")));
    }
    folders.sort();
    folders.dedup();
    Ok(folders)
}

/// The script of a package, with its names put in.
pub(super) fn script(name: &str, package: &Package) -> Result<String> {
    let text =
        fs::read_to_string(root().join("packaging").join(name)).with_context(|| format!("read {name}"))?;
    let configuration: Vec<_> = package.configuration.values().map(String::as_str).collect();
    Ok(text
        .replace("@NAME@", &package.name)
        .replace("@USER@", package.user.as_deref().unwrap_or("root"))
        .replace("@CONFIGURATION@", &configuration.join(" "))
        .replace("@UNITS@", &package.units.join(" "))
        .replace("@SOCKETS@", &package.sockets().collect::<Vec<_>>().join(" "))
        .replace("@SERVICES@", &package.services().collect::<Vec<_>>().join(" "))
        .replace("@STATE@", &state(package)?.join(" ")))
}

/// What changed, as Debian writes it.
pub(super) fn debian_changelog(package: &Package, source: &Source) -> Result<String> {
    let changes = changes()?;
    let lines: String = changes.lines().map(|line| format!("  * {line}\n")).collect();
    let date = source.date("%a, %d %b %Y %H:%M:%S +0000")?;
    let (name, version) = (&package.name, &source.version);
    Ok(format!("{name} ({version}-1) unstable; urgency=medium\n\n{lines}\n -- {MAINTAINER}  {date}\n"))
}

/// A line for each change of this version.
pub(super) fn changes() -> Result<String> {
    fs::read_to_string(root().join("packaging/changelog")).context("read packaging/changelog")
}
