//! Runs every test, or with `--quick` those that need Rust alone.

mod libtest;

use std::{env, ffi::OsString, path::Path, process::Command};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    command::{self, cargo},
    debian, dist, engine, packages,
    tools::{self, Tool},
};

/// The prefix of the test binaries, in `tests/tests`, that run third-party programs.
const THIRD_PARTY: &str = "third_party_";
/// The prefix of those that install and run what is shipped.
const PACKAGES: &str = "packages_";
const METADATA: [&str; 4] = ["metadata", "--no-deps", "--format-version", "1"];

/// Run every test: unit, property, simulation and end to end.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Only what needs Rust alone: leaves out the scenarios with third-party programs.
    #[arg(long)]
    quick: bool,
    /// Only what is shipped: builds it, then installs and runs the images, debs and rpms.
    #[arg(long, conflicts_with = "quick")]
    packages: bool,
    /// Only tests whose name contains one of these.
    filter: Vec<String>,
}

impl Args {
    /// Those of what is shipped.
    pub(crate) fn packages() -> Self {
        Self { packages: true, ..Self::default() }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.packages {
        return shipped(args);
    }
    let mut names = integration_tests(&command::read(&mut cargo(METADATA))?)?;
    let mut left_out: Vec<_> = names.extract_if(.., |name| name.starts_with(PACKAGES)).collect();
    println!("Tests of what is shipped are left out; cargo xtask test --packages runs them.");
    if args.quick {
        left_out.extend(names.extract_if(.., |name| name.starts_with(THIRD_PARTY)));
        println!("Without third-party programs; left out: {}", left_out.join(", "));
    } else {
        packages::ensure_installed(packages::FOR_TESTS)?;
    }
    let clients = [&tools::MOTO, &tools::DATADOG, &tools::DDTRACE, &tools::FLAG_PYTHON, &tools::FLAG_NODE];
    let path = if args.quick { None } else { Some(with_tools(&clients)?) };
    let engine = if args.quick { None } else { engine::ensure_running()? };
    command::run(&mut build())?;
    let ran = if command::works(&mut cargo(["nextest", "--version"])) {
        nextest(args, &left_out, path)
    } else {
        libtest::run(args, &names, path)
    };
    drop(engine);
    ran
}

/// Builds the tests, and the binaries that scenarios run from the target folder: those of every package that has a
/// `tests` folder. Built by themselves they would take other features of their dependencies, and all of these a second
/// time.
pub(crate) fn build() -> Command {
    cargo(["test", "--workspace", "--no-run", "--quiet"])
}

/// Builds what is shipped and tests it as its users meet it. One test at a time: they use the documented ports.
fn shipped(args: &Args) -> Result<()> {
    packages::ensure_installed(packages::FOR_PACKAGES)?;
    let dist = dist::build(&dist::Args::default())?;
    let engine = engine::ensure_running()?;
    debian::ensure_loaded()?;
    let mut test = cargo(["test", "--workspace", "--quiet"]);
    for binary in packages_tests()? {
        test.args(["--test", &binary]);
    }
    test.env("PATH", with_tools(&[&tools::KUBERNETES_VALIDATE])?);
    test.env("WAYSIDE_DIST", dist.folder).arg("--").arg("--test-threads=1").args(&args.filter);
    let ran = command::run(&mut test);
    drop(engine);
    ran
}

fn packages_tests() -> Result<Vec<String>> {
    let all = integration_tests(&command::read(&mut cargo(METADATA))?)?;
    Ok(all.into_iter().filter(|name| name.starts_with(PACKAGES)).collect())
}

/// The search path for programs, with these tools in front.
pub(crate) fn with_tools(tools: &[&Tool]) -> Result<OsString> {
    let mut folders = Vec::new();
    for tool in tools {
        folders.extend(tool.path()?.parent().map(Path::to_path_buf));
    }
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    env::join_paths(folders).context("put the tools on PATH")
}

fn nextest(args: &Args, left_out: &[String], path: Option<OsString>) -> Result<()> {
    let mut nextest = cargo(["nextest", "run", "--workspace", "--no-fail-fast"]);
    nextest.envs(path.map(|path| ("PATH", path)));
    // A filter that matches nothing is an error to nextest.
    if !left_out.is_empty() {
        let binaries: Vec<_> = left_out.iter().map(|name| format!("binary({name})")).collect();
        nextest.args(["-E", &format!("not ({})", binaries.join(" or "))]);
    }
    command::run(nextest.args(&args.filter))
}

/// The names of the integration test binaries in what `cargo metadata` prints.
fn integration_tests(metadata: &str) -> Result<Vec<String>> {
    let metadata: Value = serde_json::from_str(metadata).context("read cargo's metadata")?;
    let list = |value: &Value, key| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let targets = list(&metadata, "packages").into_iter().flat_map(|package| list(&package, "targets"));
    let is_test = |target: &Value| list(target, "kind").contains(&Value::from("test"));
    let name = |target: Value| target.get("name")?.as_str().map(str::to_owned);
    let mut names: Vec<String> = targets.filter(is_test).filter_map(name).collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::integration_tests;

    #[test]
    fn integration_tests_are_told_from_other_targets() {
        let metadata = r#"{"packages": [
            {"name": "goproxy", "targets": [{"kind": ["lib"], "name": "goproxy"}, {"kind": ["bin"], "name": "goproxy"}]},
            {"name": "tests", "targets": [
                {"kind": ["test"], "name": "third_party_nginx"},
                {"kind": ["test"], "name": "signals"}
            ]}
        ]}"#;
        assert_eq!(integration_tests(metadata).unwrap(), ["signals", "third_party_nginx"]);
        assert!(integration_tests("no JSON").is_err());
    }
}
