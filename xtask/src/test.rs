//! Runs every test, or with `--quick` those that need Rust alone.

mod libtest;

use std::{env, ffi::OsString, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    command::{self, cargo},
    engine, packages,
    tools::{self, Tool},
};

/// The prefix of the test binaries, in `tests/tests`, that run third-party programs.
const THIRD_PARTY: &str = "third_party_";
const METADATA: [&str; 4] = ["metadata", "--no-deps", "--format-version", "1"];

/// Run every test: unit, property, simulation and end to end.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Only what needs Rust alone: leaves out the scenarios with third-party programs.
    #[arg(long)]
    quick: bool,
    /// Only tests whose name contains one of these.
    filter: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let integration = integration_tests(&command::read(&mut cargo(METADATA))?)?;
    let (third_party, ours): (Vec<_>, Vec<_>) =
        integration.into_iter().partition(|name| is_third_party(name));
    if args.quick {
        let told = if third_party.is_empty() { "nothing".to_owned() } else { third_party.join(", ") };
        println!("Without third-party programs; left out: {told}");
    } else {
        packages::ensure_installed(packages::FOR_TESTS)?;
    }
    let path = if args.quick {
        None
    } else {
        Some(with_tools(&[&tools::MOTO, &tools::FLAG_PYTHON, &tools::FLAG_NODE])?)
    };
    let engine = if args.quick { None } else { engine::ensure_running()? };
    // The scenarios run the real binaries from the target folder. Building the tests builds those of every
    // package that has a `tests` folder; built by themselves they would take other features of their
    // dependencies, and all of these a second time.
    command::run(&mut cargo(["test", "--workspace", "--no-run", "--quiet"]))?;
    let ran = if command::works(&mut cargo(["nextest", "--version"])) {
        nextest(args, &third_party, path)
    } else {
        libtest::run(args, &ours, path)
    };
    drop(engine);
    ran
}

/// The search path for programs, with these tools in front.
fn with_tools(tools: &[&Tool]) -> Result<OsString> {
    let mut folders = Vec::new();
    for tool in tools {
        folders.extend(tool.path()?.parent().map(Path::to_path_buf));
    }
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    env::join_paths(folders).context("put the tools on PATH")
}

fn nextest(args: &Args, third_party: &[String], path: Option<OsString>) -> Result<()> {
    let mut nextest = cargo(["nextest", "run", "--workspace", "--no-fail-fast"]);
    nextest.envs(path.map(|path| ("PATH", path)));
    // A filter that matches nothing is an error to nextest.
    if args.quick && !third_party.is_empty() {
        nextest.args(["-E", &format!("not binary(/^{THIRD_PARTY}/)")]);
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

fn is_third_party(binary: &str) -> bool {
    binary.starts_with(THIRD_PARTY)
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
