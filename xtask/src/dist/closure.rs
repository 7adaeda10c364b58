//! What a binary is built of: its crate and everything beneath, as cargo resolved it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
};

use anyhow::{Context, Result};
use auditable_serde::{DependencyKind, Package, Source as Registry, VersionInfo};
use flate2::{Compression, write::ZlibEncoder};
use serde::Deserialize;
use serde_json::{Value, json};

use super::source::Source;
use crate::command::{self, cargo};

/// What `cargo metadata` prints, as far as it concerns us.
#[derive(Clone, Deserialize)]
pub(super) struct Closure {
    packages: Vec<Crate>,
    resolve: Resolve,
    /// The crate that everything else is beneath.
    #[serde(skip)]
    root: String,
}

#[derive(Clone, Deserialize)]
struct Crate {
    id: String,
    name: String,
    version: String,
    source: Option<String>,
    license: Option<String>,
    targets: Vec<Target>,
}

#[derive(Clone, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Clone, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Clone, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Clone, Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Clone, Deserialize)]
struct Kind {
    kind: Option<String>,
}

impl Closure {
    /// Everything in the workspace, for this target.
    pub(super) fn read(target: &str) -> Result<Self> {
        let metadata = ["metadata", "--locked", "--format-version", "1", "--filter-platform", target];
        serde_json::from_str(&command::read(&mut cargo(metadata))?).context("read cargo's metadata")
    }

    /// The part that this binary is built of.
    pub(super) fn of_binary(&self, name: &str) -> Result<Self> {
        let is_it = |target: &Target| target.name == name && target.kind.iter().any(|kind| kind == "bin");
        let root = self.packages.iter().find(|package| package.targets.iter().any(is_it));
        let root = root.with_context(|| format!("no crate has a binary {name}"))?.id.clone();
        let mut inside = BTreeSet::from([root.as_str()]);
        let mut open = vec![root.as_str()];
        while let Some(id) = open.pop() {
            open.extend(self.beneath(id).filter(|id| inside.insert(id)).collect::<Vec<_>>());
        }
        let mut part = self.clone();
        part.packages.retain(|package| inside.contains(package.id.as_str()));
        part.packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        part.resolve.nodes.retain(|node| inside.contains(node.id.as_str()));
        part.root = root;
        Ok(part)
    }

    /// What a crate has in the binary, not what builds or tests it.
    fn beneath(&self, id: &str) -> impl Iterator<Item = &str> {
        let node = self.resolve.nodes.iter().find(move |node| node.id == id);
        let ships = |dependency: &&Dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
        node.into_iter().flat_map(|node| &node.deps).filter(ships).map(|dependency| dependency.pkg.as_str())
    }

    /// The list in the binary: the JSON of cargo-auditable, compressed by zlib.
    pub(super) fn embedded(&self) -> Result<Vec<u8>> {
        let at: BTreeMap<_, _> =
            self.packages.iter().enumerate().map(|(at, package)| (package.id.as_str(), at)).collect();
        let mut packages = Vec::new();
        for package in &self.packages {
            let mut dependencies: Vec<_> =
                self.beneath(&package.id).filter_map(|id| at.get(id).copied()).collect();
            dependencies.sort_unstable();
            packages.push(Package {
                name: package.name.clone(),
                version: package.version.parse().with_context(|| format!("version of {}", package.name))?,
                source: if package.source.is_some() { Registry::CratesIo } else { Registry::Local },
                kind: DependencyKind::Runtime,
                dependencies,
                root: package.id == self.root,
            });
        }
        let list = serde_json::to_vec(&VersionInfo { packages, format: 1 })?;
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&list)?;
        Ok(packed.finish()?)
    }

    /// The bill of materials, CycloneDX 1.5.
    pub(super) fn bill(&self, binary: &str, source: &Source) -> Result<Vec<u8>> {
        let reference = |package: &Crate| match &package.source {
            Some(_) => format!("pkg:cargo/{}@{}", package.name, package.version),
            None => format!("{}@{}", package.name, package.version),
        };
        let names: BTreeMap<_, _> =
            self.packages.iter().map(|package| (package.id.as_str(), reference(package))).collect();
        let components: Vec<Value> = self.packages.iter().map(|package| {
            let mut component = json!({
                "type": "library", "bom-ref": reference(package), "name": package.name, "version": package.version,
            });
            if let (Some(license), Some(object)) = (&package.license, component.as_object_mut()) {
                object.insert("licenses".into(), json!([{ "expression": license.replace('/', " OR ") }]));
                if package.source.is_some() {
                    object.insert("purl".into(), reference(package).into());
                }
            }
            component
        }).collect();
        let dependencies: Vec<Value> = self
            .packages
            .iter()
            .map(|package| {
                let mut beneath: Vec<_> = self.beneath(&package.id).filter_map(|id| names.get(id)).collect();
                beneath.sort();
                beneath.dedup();
                json!({ "ref": reference(package), "dependsOn": beneath })
            })
            .collect();
        let component = json!({ "type": "application", "name": binary, "version": source.version });
        let bill = json!({
            "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
            "metadata": { "timestamp": source.time()?, "component": component },
            "components": components, "dependencies": dependencies,
        });
        Ok(serde_json::to_vec_pretty(&bill)?)
    }
}
