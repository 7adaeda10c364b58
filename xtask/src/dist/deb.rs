//! A Debian package, by dpkg-deb.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
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

/// Builds it into `folder`, and returns where it is.
pub(super) fn build(package: &Package, built: &Built, source: &Source, folder: &Path) -> Result<PathBuf> {
    let tree = tree::of(package, built, source, Family::Debian)?;
    let build = tempfile::tempdir().context("make a folder to build in")?;
    let below = build.path();
    fs::set_permissions(below, fs::Permissions::from_mode(0o755)).context("open the folder to build in")?;
    tree::write(&tree, below)?;
    let control = below.join("DEBIAN");
    fs::create_dir(&control).context("make the folder DEBIAN")?;
    let put = |name: &str, mode, text: String| {
        let path = control.join(name);
        fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
            .with_context(|| format!("write DEBIAN/{name}"))
    };
    put("control", 0o644, fields(package, &tree, source)?)?;
    let configuration = tree.iter().filter(|entry| entry.is_configuration);
    let configuration: String = configuration.map(|entry| format!("/{}\n", entry.path)).collect();
    if !configuration.is_empty() {
        put("conffiles", 0o644, configuration)?;
    }
    if !package.units.is_empty() {
        for name in ["postinst", "prerm", "postrm"] {
            put(name, 0o755, carried::script(&format!("deb/{name}"), package)?)?;
        }
    }
    put("md5sums", 0o644, md5sums(&tree, below)?)?;
    let deb = folder.join(format!("{}_{}-1_amd64.deb", package.name, source.version));
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.args(["--build", "--root-owner-group", "-Zxz"]).arg(below).arg(&deb);
    command::read(dpkg.env("SOURCE_DATE_EPOCH", source.seconds.to_string()))?;
    Ok(deb)
}

/// The control file.
fn fields(package: &Package, tree: &[Entry], source: &Source) -> Result<String> {
    let mut bytes = 0;
    for entry in tree {
        bytes += match &entry.content {
            tree::Content::Bytes(bytes) => bytes.len() as u64,
            tree::Content::Folder => 0,
            tree::Content::Of(file) => {
                fs::metadata(file).with_context(|| format!("look at {}", file.display()))?.len()
            }
        };
    }
    let needs = if package.user.is_some() {
        "Depends: systemd | systemd-standalone-sysusers | systemd-sysusers\n"
    } else {
        ""
    };
    let description: String = package.description.lines().map(|line| format!(" {line}\n")).collect();
    Ok(format!(
        "Package: {}\nVersion: {}-1\nArchitecture: amd64\nMaintainer: {MAINTAINER}\nInstalled-Size: {}\n{needs}\
         Section: net\nPriority: optional\nHomepage: {HOME}\nDescription: {}\n{description}",
        package.name,
        source.version,
        bytes.div_ceil(1024),
        package.summary,
    ))
}

fn md5sums(tree: &[Entry], below: &Path) -> Result<String> {
    let is_sealed =
        |entry: &&Entry| !entry.is_configuration && !matches!(entry.content, tree::Content::Folder);
    let files = tree.iter().filter(is_sealed).map(|entry| &entry.path);
    command::read(Command::new("md5sum").current_dir(below).args(files))
}
