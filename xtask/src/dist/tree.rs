//! The files of a package, each with its place and its mode.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};

use super::{binaries::Built, carried, products::Package, source::Source};
use crate::command::root;

/// Whose habits they follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Debian,
    RedHat,
}

/// One file.
pub(super) struct Entry {
    /// Below the root, without a slash in front.
    pub(super) path: String,
    pub(super) mode: u32,
    pub(super) content: Content,
    /// Whether it is the administrator's to change.
    pub(super) is_configuration: bool,
}

/// What is in it.
pub(super) enum Content {
    Bytes(Vec<u8>),
    /// As in this file.
    Of(PathBuf),
    Folder,
}

impl Family {
    fn units(self) -> &'static str {
        match self {
            Self::Debian => "lib/systemd/system",
            Self::RedHat => "usr/lib/systemd/system",
        }
    }

    fn zsh(self) -> &'static str {
        match self {
            Self::Debian => "usr/share/zsh/vendor-completions",
            Self::RedHat => "usr/share/zsh/site-functions",
        }
    }
}

/// Everything in a package.
pub(super) fn of(package: &Package, built: &Built, source: &Source, family: Family) -> Result<Vec<Entry>> {
    let mut tree = Vec::new();
    let mut put = |path: String, mode, content| {
        tree.push(Entry { path, mode, content, is_configuration: false });
    };
    for binary in &package.binaries {
        let file = built.get(binary).with_context(|| format!("{binary} was not built"))?;
        put(format!("usr/bin/{binary}"), 0o755, Content::Of(file.clone()));
        let manual = packed(&carried::told(file, "man")?)?;
        put(format!("usr/share/man/man8/{binary}.8.gz"), 0o644, Content::Bytes(manual));
        for (shell, path) in [
            ("bash", format!("usr/share/bash-completion/completions/{binary}")),
            ("zsh", format!("{}/_{binary}", family.zsh())),
            ("fish", format!("usr/share/fish/vendor_completions.d/{binary}.fish")),
        ] {
            put(path, 0o644, Content::Bytes(carried::told(file, shell)?));
        }
    }
    let packaging = root().join("packaging");
    for tool in &package.tools {
        let file = built.get(tool).with_context(|| format!("{tool} was not built"))?;
        put(format!("usr/bin/{tool}"), 0o755, Content::Of(file.clone()));
        let page = format!("{tool}.8");
        let text = fs::read(packaging.join("man").join(&page)).with_context(|| format!("read {page}"))?;
        put(format!("usr/share/man/man8/{page}.gz"), 0o644, Content::Bytes(packed(&text)?));
    }
    for page in carried::pages(package)? {
        let text = fs::read(packaging.join("man").join(&page)).with_context(|| format!("read {page}"))?;
        put(format!("usr/share/man/man5/{page}.gz"), 0o644, Content::Bytes(packed(&text)?));
    }
    for unit in &package.units {
        put(format!("{}/{unit}", family.units()), 0o644, Content::Of(packaging.join("systemd").join(unit)));
    }
    if package.user.is_some() {
        let users = carried::users(package).into_bytes();
        put(format!("usr/lib/sysusers.d/{}.conf", package.name), 0o644, Content::Bytes(users));
    }
    let about = format!("usr/share/doc/{}", package.name);
    match family {
        Family::Debian => {
            let changes = packed(carried::debian_changelog(package, source)?.as_bytes())?;
            put(format!("{about}/changelog.Debian.gz"), 0o644, Content::Bytes(changes));
            put(format!("{about}/copyright"), 0o644, Content::Of(packaging.join("deb/copyright")));
        }
        Family::RedHat => {
            put(
                format!("usr/share/licenses/{}/LICENSE", package.name),
                0o644,
                Content::Of(root().join("LICENSE")),
            );
        }
    }
    for folder in &package.folders {
        put(folder.trim_start_matches('/').to_owned(), 0o755, Content::Folder);
    }
    for (binary, path) in &package.configuration {
        let file = built.get(binary).with_context(|| format!("{binary} was not built"))?;
        let content = Content::Bytes(carried::told(file, "config")?);
        let path = path.trim_start_matches('/').to_owned();
        tree.push(Entry { path, mode: 0o640, content, is_configuration: true });
    }
    Ok(tree)
}

/// Writes them below a folder, all of them as old as the source.
pub(super) fn write(tree: &[Entry], folder: &Path) -> Result<()> {
    for entry in tree {
        let path = folder.join(&entry.path);
        let above = path.parent().context("a file has a folder")?;
        fs::create_dir_all(above).with_context(|| format!("make {}", above.display()))?;
        match &entry.content {
            Content::Bytes(bytes) => fs::write(&path, bytes),
            Content::Of(file) => fs::copy(file, &path).map(drop),
            Content::Folder => fs::create_dir_all(&path),
        }
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode)))
        .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// By gzip, without a name or a time.
fn packed(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut packed = GzBuilder::new().write(Vec::new(), Compression::best());
    packed.write_all(bytes)?;
    Ok(packed.finish()?)
}
