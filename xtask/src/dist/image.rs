//! An image from scratch: one layer with the daemon, in the archive that `docker load` and OCI tools read.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::{binaries::Built, carried::HOME, hex, products::Image, source::Source};

/// Nobody in particular, in a container where nobody else is.
const USER: u64 = 65532;

/// Builds it into `folder`, and returns where it is. It is called `wayside/NAME`, by its version and `latest`.
pub(super) fn build(image: &Image, built: &Built, source: &Source, folder: &Path) -> Result<PathBuf> {
    let layer = layer(image, built, source)?;
    let layer_digest = hex(&Sha256::digest(&layer));
    let config = serde_json::to_vec(&config(image, &layer_digest, source)?)?;
    let config_digest = hex(&Sha256::digest(&config));
    let described = |kind: &str, digest: &str, size: usize| {
        let media_type = format!("application/vnd.oci.image.{kind}");
        json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size })
    };
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described("config.v1+json", &config_digest, config.len()),
        "layers": [described("layer.v1.tar", &layer_digest, layer.len())],
    }))?;
    let manifest_digest = hex(&Sha256::digest(&manifest));
    let mut listed = described("manifest.v1+json", &manifest_digest, manifest.len());
    let tags = [source.version.as_str(), "latest"].map(|tag| format!("wayside/{}:{tag}", image.name));
    if let Some(listed) = listed.as_object_mut() {
        let name = tags.first().cloned().unwrap_or_default();
        let annotations =
            json!({ "io.containerd.image.name": name, "org.opencontainers.image.ref.name": source.version });
        listed.insert("annotations".into(), annotations);
    }
    let index = json!({ "schemaVersion": 2, "manifests": [listed] });
    let blob = |digest: &str| format!("blobs/sha256/{digest}");
    // What docker read before it read OCI layouts.
    let old = json!([{ "Config": blob(&config_digest), "RepoTags": tags, "Layers": [blob(&layer_digest)] }]);
    let files = [
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), serde_json::to_vec(&index)?),
        ("manifest.json".to_owned(), serde_json::to_vec(&old)?),
        (blob(&manifest_digest), manifest),
        (blob(&config_digest), config),
        (blob(&layer_digest), layer),
    ];
    let mut archive = Archive::new(source);
    for (path, content) in files {
        archive.file(&path, 0o644, 0, &content)?;
    }
    let path = folder.join(format!("{}-{}.image.tar", image.name, source.version));
    fs::write(&path, archive.end()?).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// How it runs.
fn config(image: &Image, layer: &str, source: &Source) -> Result<Value> {
    let binary = image.binaries.first().context("an image has a binary")?;
    let path = format!("/usr/local/bin/{binary}");
    let empty = |names: Vec<String>| {
        names.into_iter().map(|name| (name, json!({}))).collect::<serde_json::Map<_, _>>()
    };
    let second = 1_000_000_000_u64;
    Ok(json!({
        "architecture": "amd64",
        "os": "linux",
        "created": source.time()?,
        "config": {
            "User": format!("{USER}:{USER}"),
            "Entrypoint": [path],
            "Env": ["PATH=/usr/local/bin"],
            "ExposedPorts": empty(image.ports.iter().map(|port| format!("{port}/tcp")).collect()),
            "Volumes": empty(image.volumes.clone()),
            "Healthcheck": {
                "Test": ["CMD", path, "--health"],
                "Interval": 10 * second, "Timeout": 5 * second, "StartPeriod": 10 * second, "Retries": 3,
            },
            "Labels": {
                "org.opencontainers.image.title": image.name,
                "org.opencontainers.image.version": source.version,
                "org.opencontainers.image.created": source.time()?,
                "org.opencontainers.image.licenses": "Apache-2.0",
                "org.opencontainers.image.url": HOME,
            },
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer}")] },
        "history": [{ "created": source.time()?, "created_by": "cargo xtask dist" }],
    }))
}

fn layer(image: &Image, built: &Built, source: &Source) -> Result<Vec<u8>> {
    let mut layer = Archive::new(source);
    let (mode, root) = (0o755, 0);
    for folder in
        ["etc", "etc/ssl", "etc/ssl/certs", "tmp", "usr", "usr/local", "usr/local/bin", "var", "var/lib"]
    {
        layer.folder(folder, if folder == "tmp" { 0o1777 } else { mode }, root)?;
    }
    let passwd = format!("root:x:0:0::/:/sbin/nologin\nwayside:x:{USER}:{USER}::/:/sbin/nologin\n");
    layer.file("etc/passwd", 0o644, root, passwd.as_bytes())?;
    layer.file("etc/group", 0o644, root, format!("root:x:0:\nwayside:x:{USER}:\n").as_bytes())?;
    layer.file("etc/ssl/certs/ca-certificates.crt", 0o644, root, authorities().as_bytes())?;
    let volumes: Vec<_> = image.volumes.iter().map(|volume| volume.trim_start_matches('/')).collect();
    // Engines refuse a layer that has a path twice.
    let above: BTreeSet<_> = volumes.iter().flat_map(|path| above(path)).collect();
    for path in above.into_iter().filter(|path| path.len() > "var/lib".len()) {
        layer.folder(path, mode, root)?;
    }
    for path in volumes {
        layer.folder(path, 0o750, USER)?;
    }
    for binary in &image.binaries {
        let file = built.get(binary).with_context(|| format!("{binary} was not built"))?;
        let content = fs::read(file).with_context(|| format!("read {}", file.display()))?;
        layer.file(&format!("usr/local/bin/{binary}"), 0o755, root, &content)?;
    }
    layer.end()
}

/// The folders above this one, from the outermost on.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(end, _)| path.get(..end))
}

/// The authorities that browsers trust, as PEM.
fn authorities() -> String {
    let mut text = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in STANDARD.encode(certificate).as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

/// A tar archive, all of it as old as the source.
struct Archive {
    tar: Builder<Vec<u8>>,
    seconds: u64,
}

impl Archive {
    fn new(source: &Source) -> Self {
        Self { tar: Builder::new(Vec::new()), seconds: source.seconds.unsigned_abs() }
    }

    fn folder(&mut self, path: &str, mode: u32, owner: u64) -> Result<()> {
        self.entry(&format!("{path}/"), EntryType::Directory, mode, owner, &[])
    }

    fn file(&mut self, path: &str, mode: u32, owner: u64, content: &[u8]) -> Result<()> {
        self.entry(path, EntryType::Regular, mode, owner, content)
    }

    fn entry(&mut self, path: &str, kind: EntryType, mode: u32, owner: u64, content: &[u8]) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_mtime(self.seconds);
        header.set_size(content.len() as u64);
        self.tar.append_data(&mut header, path, content).with_context(|| format!("archive {path}"))
    }

    fn end(self) -> Result<Vec<u8>> {
        Ok(self.tar.into_inner()?)
    }
}
