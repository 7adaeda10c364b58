//! An RPM package, by rpmbuild.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{
    binaries::Built,
    carried::{self, HOME, MAINTAINER},
    products::Package,
    source::Source,
    tree::{self, Entry, Family},
};
use crate::command;

/// The same from every machine, whatever rpmbuild would say of this one; and nothing is done to what is in it.
const DEFINITIONS: [&str; 9] = [
    "_buildhost wayside",
    "use_source_date_epoch_as_buildtime 1",
    "clamp_mtime_to_source_date_epoch 1",
    "build_mtime_policy clamp_to_source_date_epoch",
    "_build_id_links none",
    "__os_install_post %{nil}",
    "debug_package %{nil}",
    "__brp_mangle_shebangs %{nil}",
    "_binary_payload w19.zstdio",
];

/// Builds it into `folder`, and returns where it is.
pub(super) fn build(package: &Package, built: &Built, source: &Source, folder: &Path) -> Result<PathBuf> {
    let tree = tree::of(package, built, source, Family::RedHat)?;
    let build = tempfile::tempdir().context("make a folder to build in")?;
    let files = build.path().join("files");
    tree::write(&tree, &files)?;
    let spec = build.path().join(format!("{}.spec", package.name));
    fs::write(&spec, recipe(package, &tree, source)?).context("write the spec")?;
    let mut rpmbuild = Command::new("rpmbuild");
    rpmbuild
        .args(["-bb", "--quiet", "--target", "x86_64-linux"])
        .arg("--buildroot")
        .arg(build.path().join("root"));
    for told in DEFINITIONS {
        rpmbuild.args(["--define", told]);
    }
    let told = |name: &str, path: &Path| format!("{name} {}", path.display());
    rpmbuild.args(["--define", &told("_topdir", build.path()), "--define", &told("_rpmdir", build.path())]);
    rpmbuild.args(["--define", &told("_wayside_files", &files)]).arg(&spec);
    command::read(rpmbuild.env("SOURCE_DATE_EPOCH", source.seconds.to_string()))?;
    let name = format!("{}-{}-1.x86_64.rpm", package.name, source.version);
    let rpm = folder.join(&name);
    fs::copy(build.path().join("x86_64").join(&name), &rpm).with_context(|| format!("take {name}"))?;
    Ok(rpm)
}

/// The spec.
fn recipe(package: &Package, tree: &[Entry], source: &Source) -> Result<String> {
    let user = package.user.as_deref().unwrap_or("root");
    let files: String = tree
        .iter()
        .map(|entry| match (entry.is_configuration, entry.path.as_str()) {
            (_, path) if matches!(entry.content, tree::Content::Folder) => format!("%dir /{path}\n"),
            (true, path) => format!("%config(noreplace) %attr({:o}, root, {user}) /{path}\n", entry.mode),
            (false, path) if path.ends_with("/LICENSE") => format!("%license /{path}\n"),
            (false, path) if path.starts_with("usr/share/man/") => format!("%doc /{path}\n"),
            (false, path) => format!("/{path}\n"),
        })
        .collect();
    let scripts =
        if package.units.is_empty() { String::new() } else { carried::script("rpm/scripts", package)? };
    let changes: String = carried::changes()?.lines().map(|line| format!("- {line}\n")).collect();
    Ok(format!(
        "Name: {}\nVersion: {}\nRelease: 1\nSummary: {}\nLicense: Apache-2.0\nURL: {HOME}\nPackager: {MAINTAINER}\n\n\
         %description\n{}\n\n\
         %install\ncp -a %{{_wayside_files}}/. %{{buildroot}}/\n\n\
         {scripts}\n\
         %files\n{files}\n\
         %changelog\n* {} {MAINTAINER} - {}-1\n{changes}",
        package.name,
        source.version,
        package.summary,
        package.description,
        source.date("%a %b %d %Y")?,
        source.version,
    ))
}
