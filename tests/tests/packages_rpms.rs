//! Each rpm: what rpmlint says of it, and what it puts where.

use std::{path::PathBuf, process::Command};

use tests::{
    docker::{Container, shipped},
    program::run,
};

const ALL: [(&str, &str); 6] = [
    ("wayside-goproxy", "usr/bin/goproxy"),
    ("wayside-forwarder", "usr/bin/forwarder"),
    ("wayside-agent-relay", "usr/bin/agent-relay"),
    ("wayside-autostop", "usr/bin/lw_proxy"),
    ("wayside-autostop-aws", "usr/bin/autostop-provider-aws"),
    ("wayside-flag-relay", "usr/bin/flag-relay"),
];

fn rpm_of(package: &str) -> PathBuf {
    shipped(&format!("{package}-{}-", env!("CARGO_PKG_VERSION")), ".rpm")
}

#[test]
fn rpmlint_finds_nothing() {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/rpm/rpmlint.toml");
    for (package, _) in ALL {
        let rpm = rpm_of(package);
        let output =
            Command::new("rpmlint").args(["--strict", "--config", rules]).arg(&rpm).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{package}:\n{told}{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn an_rpm_puts_its_files_where_they_belong() {
    let root = tempfile::tempdir().unwrap();
    let rpm = || {
        let mut rpm = Command::new("rpm");
        rpm.arg("--root").arg(root.path());
        rpm
    };
    run(rpm().arg("--initdb"));
    for (package, binary) in ALL {
        let file = rpm_of(package);
        // The scripts want the programs of a whole system, which this folder is not.
        run(rpm().args(["--install", "--nodeps", "--noscripts"]).arg(&file));
        assert!(root.path().join(binary).is_file(), "{package}");
        let told = run(rpm().args(["--query", "--configfiles", package]));
        assert_eq!(told.trim().ends_with(".toml"), !package.ends_with("-aws"), "{told}");
        run(rpm().args(["--verify", "--nouser", "--nogroup", "--nodeps", "--noscripts", package]));
        run(rpm().args(["--erase", "--noscripts", package]));
        assert!(!root.path().join(binary).exists(), "{package}");
    }
}

#[test]
fn the_scripts_of_an_rpm_do_what_an_administrator_expects() {
    let machine = Container::machine();
    machine.put(&rpm_of("wayside-goproxy"), "/srv/goproxy.rpm");
    // Debian's packages are not in rpm's list.
    machine.shell("rpm --install --nodeps /srv/goproxy.rpm");
    assert!(machine.does("getent passwd wayside-goproxy && getent group wayside-goproxy"));
    let mode = machine.shell("stat --format='%a %U:%G' /etc/wayside/goproxy.toml");
    assert_eq!(mode.trim(), "640 root:wayside-goproxy");
    assert!(!machine.is_active("goproxy"), "who installs starts");

    let settings = "proxy_type = 'reverse'\nreverse_proxy_host = '127.0.0.1'\nreverse_proxy_port = 1\n\
                    app_label = 'shop'\napp_pod_name = 'shop-1'\nforwarder_addr = '127.0.0.1:8888'\n";
    machine.shell(&format!("printf \"%s\" \"{settings}\" > /etc/wayside/goproxy.toml"));
    machine.shell("systemctl enable --now goproxy");
    assert!(machine.is_active("goproxy"));

    let before = machine.shown("goproxy", "MainPID");
    machine.shell("rpm --upgrade --force --nodeps /srv/goproxy.rpm");
    machine.wait_until_active("goproxy");
    assert_ne!(machine.shown("goproxy", "MainPID"), before, "it is the new one");
    assert!(machine.does("grep --quiet shop-1 /etc/wayside/goproxy.toml"), "what was written stays");

    machine.shell("rpm --erase --nodeps wayside-goproxy");
    assert!(!machine.is_active("goproxy"));
    assert!(!machine.does("systemctl cat goproxy"));
    assert!(machine.does("test -s /etc/wayside/goproxy.toml.rpmsave"), "and is kept aside in the end");
}
