//! The third-party programs that tests and benchmarks run, and the Debian packages that carry them.

use std::process::Command;

use anyhow::{Result, bail, ensure};

use crate::command;

/// How to see that a package is there.
enum Probe {
    /// A program on `PATH`, or where Debian keeps servers.
    Program(&'static str),
    /// A file.
    File(&'static str),
    /// A module of Debian's own Python.
    Python(&'static str),
}

/// A Debian package and how to see it; a program that came another way counts as well.
pub(crate) struct Package(&'static str, Probe);

/// What the test binaries named `third_party_*` run.
pub(crate) const FOR_TESTS: &[Package] = &[
    Package("nginx", Probe::Program("nginx")),
    Package("haproxy", Probe::Program("haproxy")),
    Package("wrk", Probe::Program("wrk")),
    Package("apache2-utils", Probe::Program("ab")),
    Package("nghttp2-client", Probe::Program("h2load")),
    Package("curl", Probe::Program("curl")),
    Package("redis-server", Probe::Program("redis-server")),
    Package("redis-tools", Probe::Program("redis-benchmark")),
    Package("postgresql", Probe::Program("pgbench")),
    Package("chromium", Probe::Program("chromium")),
    Package("chromium-driver", Probe::Program("chromedriver")),
    Package("python3-websockets", Probe::Python("websockets")),
    Package("nodejs", Probe::Program("node")),
    Package("npm", Probe::Program("npm")),
    Package("docker.io", Probe::Program("dockerd")),
    Package("musl-tools", Probe::Program("musl-gcc")),
    Package("dbus", Probe::Program("dbus-daemon")),
    Package("openssh-server", Probe::Program("sshd")),
    Package("openssh-client", Probe::Program("ssh")),
    Package("squid", Probe::Program("squid")),
    Package("dnsmasq-base", Probe::Program("dnsmasq")),
];

/// What `cargo xtask dist` runs.
pub(crate) const FOR_DIST: &[Package] = &[
    Package("musl-tools", Probe::Program("musl-gcc")),
    Package("binutils", Probe::Program("objcopy")),
    Package("dpkg", Probe::Program("dpkg-deb")),
    Package("rpm", Probe::Program("rpmbuild")),
];

/// What the test binaries named `packages_*` run, beside docker.
pub(crate) const FOR_PACKAGES: &[Package] = &[
    Package("docker.io", Probe::Program("dockerd")),
    Package("docker-compose", Probe::Program("docker-compose")),
    Package("debootstrap", Probe::Program("debootstrap")),
    Package("net-tools", Probe::Program("netstat")),
    Package("curl", Probe::Program("curl")),
    Package("redis-server", Probe::Program("redis-server")),
    Package("lintian", Probe::Program("lintian")),
    Package("rpm", Probe::Program("rpm")),
    Package("rpmlint", Probe::Program("rpmlint")),
];

/// What `cargo xtask bench capture` runs, beside Envoy.
pub(crate) const FOR_BENCH: &[Package] = &[
    Package("nginx", Probe::Program("nginx")),
    Package("libnginx-mod-stream", Probe::File("/usr/lib/nginx/modules/ngx_stream_module.so")),
    Package("haproxy", Probe::Program("haproxy")),
    Package("wrk", Probe::Program("wrk")),
    Package("curl", Probe::Program("curl")),
];

impl Package {
    fn is_there(&self) -> bool {
        match self.1 {
            Probe::Program(program) => command::find(program).is_some(),
            Probe::File(path) => std::path::Path::new(path).is_file(),
            Probe::Python(module) => {
                command::works(Command::new("/usr/bin/python3").args(["-c", &format!("import {module}")]))
            }
        }
    }
}

/// Installs what is missing, if we may; else stops with the line that does it.
pub(crate) fn ensure_installed(wanted: &[Package]) -> Result<()> {
    let missing = missing(wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!("apt-get install --no-install-recommends {}", missing.join(" "));
    if !nix::unistd::geteuid().is_root() || command::find("apt-get").is_none() {
        bail!("missing programs. On Debian, as root: {by_hand}");
    }
    println!("Installing what is missing: {}", missing.join(" "));
    apt(&["update", "-qq"])?;
    apt(&[&["install", "-qq", "-y", "--no-install-recommends"], missing.as_slice()].concat())?;
    let still = self::missing(wanted);
    ensure!(still.is_empty(), "installed, and yet not found: {}", still.join(" "));
    Ok(())
}

fn missing(wanted: &[Package]) -> Vec<&'static str> {
    wanted.iter().filter(|package| !package.is_there()).map(|package| package.0).collect()
}

/// With no terminal and no questions; what it prints is shown only if it fails.
fn apt(args: &[&str]) -> Result<()> {
    command::read(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(args)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::{Package, Probe, missing};

    #[test]
    fn what_is_missing_is_named_by_its_package() {
        let wanted = [
            Package("shell", Probe::Program("sh")),
            Package("ghost", Probe::Program("no-such-program")),
            Package("module", Probe::File("/no/such/file")),
            Package("snake", Probe::Python("no_such_module")),
        ];
        assert_eq!(missing(&wanted), ["ghost", "module", "snake"]);
    }
}
