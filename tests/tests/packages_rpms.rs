//! Each rpm: what rpmlint says of it, and what it puts where.

use std::{path::PathBuf, process::Command};

use tests::{docker::shipped, program::run};

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
