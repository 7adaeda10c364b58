//! The tests by `cargo test`, for a machine without cargo-nextest, and their sum in one line.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};

use super::Args;
use crate::command::cargo;

/// How many tests ended how.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    passed: u64,
    failed: u64,
    ignored: u64,
}

/// `names` are the integration test binaries to run.
pub(super) fn run(args: &Args, names: &[String], path: Option<OsString>) -> Result<()> {
    let mut cargo = cargo(["test", "--workspace", "--no-fail-fast"]);
    cargo.envs(path.map(|path| ("PATH", path)));
    cargo.args(["--lib", "--bins", "--examples"]);
    for name in names {
        cargo.args(["--test", name]);
    }
    let mut child = cargo.arg("--").args(&args.filter).stdout(Stdio::piped()).spawn()?;
    let mut sum = Sum::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.context("read what cargo test prints")?;
            println!("{line}");
            sum.add(&line);
        }
    }
    let status = child.wait().context("wait for cargo test")?;
    println!("{}", sum.line());
    ensure!(status.success(), "not every test passed");
    Ok(())
}

impl Sum {
    /// Adds a line like `test result: ok. 3 passed; 0 failed; 0 ignored; …`; others say nothing.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for count in counts.split("; ") {
            let Some((number, what)) = count.split_once(' ') else { continue };
            let number = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    fn line(&self) -> String {
        let Self { passed, failed, ignored } = self;
        let told = if *ignored == 0 { String::new() } else { format!(", {ignored} ignored") };
        format!("{passed} passed, {failed} failed{told}")
    }
}

#[cfg(test)]
mod tests {
    use super::Sum;

    #[test]
    fn summaries_add_up() {
        let mut sum = Sum::default();
        let first = "test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished";
        let second = "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 3 filtered out";
        for line in [first, "test a ... ok", second, "test result: nonsense"] {
            sum.add(line);
        }
        assert_eq!(sum, Sum { passed: 7, failed: 1, ignored: 0 });
        assert_eq!(sum.line(), "7 passed, 1 failed");
    }
}
