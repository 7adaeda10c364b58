//! What is shipped, as packaging/products.toml says.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::command::root;

/// All of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Products {
    pub(super) package: Vec<Package>,
    pub(super) image: Vec<Image>,
}

/// A deb and an rpm.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) summary: String,
    pub(super) description: String,
    #[serde(default)]
    pub(super) binaries: Vec<String>,
    /// Programs that are no daemons: with a manual page of packaging/man, and nothing else.
    #[serde(default)]
    pub(super) tools: Vec<String>,
    /// Of packaging/systemd.
    #[serde(default)]
    pub(super) units: Vec<String>,
    /// By the binary that writes it, where it lies.
    #[serde(default)]
    pub(super) configuration: BTreeMap<String, String>,
    /// Empty ones, to be filled by the administrator.
    #[serde(default)]
    pub(super) folders: Vec<String>,
    /// As whom its units run.
    pub(super) user: Option<String>,
}

/// An image from scratch.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Image {
    pub(super) name: String,
    /// The first of them is what runs.
    pub(super) binaries: Vec<String>,
    #[serde(default)]
    pub(super) ports: Vec<u16>,
    #[serde(default)]
    pub(super) volumes: Vec<String>,
}

impl Products {
    pub(super) fn read() -> Result<Self> {
        let file = root().join("packaging/products.toml");
        let text = fs::read_to_string(&file).context("read packaging/products.toml")?;
        toml::from_str(&text).context("understand packaging/products.toml")
    }

    /// Those whose names contain one of these; all, if there are none.
    pub(super) fn only(mut self, parts: &[String]) -> Self {
        let wanted = |name: &str| parts.is_empty() || parts.iter().any(|part| name.contains(part.as_str()));
        self.package.retain(|package| wanted(&package.name));
        self.image.retain(|image| wanted(&image.name));
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.package.is_empty() && self.image.is_empty()
    }

    /// Every binary in them.
    pub(super) fn binaries(&self) -> BTreeSet<String> {
        let packages = self.package.iter().flat_map(|package| package.binaries.iter().chain(&package.tools));
        packages.chain(self.image.iter().flat_map(|image| &image.binaries)).cloned().collect()
    }
}

impl Package {
    /// Its units that are services.
    pub(super) fn services(&self) -> impl Iterator<Item = &str> {
        self.units.iter().map(String::as_str).filter(|unit| unit.ends_with(".service"))
    }

    /// Its units that are sockets.
    pub(super) fn sockets(&self) -> impl Iterator<Item = &str> {
        self.units.iter().map(String::as_str).filter(|unit| unit.ends_with(".socket"))
    }
}

#[cfg(test)]
mod tests {
    use super::Products;

    #[test]
    fn every_daemon_is_in_a_package_and_in_an_image() {
        let products = Products::read().unwrap();
        let of_packages: Vec<_> = products.package.iter().flat_map(|package| &package.binaries).collect();
        for image in &products.image {
            assert!(image.binaries.iter().all(|binary| of_packages.contains(&binary)), "{}", image.name);
        }
        assert!(products.only(&["no such product".to_owned()]).is_empty());
    }
}
