//! The rules of the house that no compiler checks, over every file that git knows or would take.

mod layers;
mod manifests;
mod names;
mod opening;
mod size;
mod source;
mod versions;
mod words;

use std::{fmt, fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::command::{self, root};

/// Check the rules of the house that no compiler checks: layers, names, sizes, manifests.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Fail on warnings as well.
    #[arg(long)]
    strict: bool,
}

/// A rule that looks at one file by itself: its path from the root, and its text.
type Rule = fn(&str, &str) -> Vec<Problem>;

const RUST: &[Rule] = &[opening::check, names::check, size::check, layers::check, words::check];
const MANIFEST: &[Rule] = &[manifests::check];

/// Something that a rule found.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    path: String,
    /// Counted from 1; `None` when it is about the whole file.
    line: Option<usize>,
    text: String,
    /// Told, but no failure.
    is_warning: bool,
}

impl Problem {
    fn file(path: &str, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, text: text.into(), is_warning: false }
    }

    fn line(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { line: Some(line), ..Self::file(path, text) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, text, is_warning } = self;
        let line = line.map(|line| format!(":{line}")).unwrap_or_default();
        write!(f, "{}: {path}{line}: {text}", if *is_warning { "warning" } else { "error" })
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = root();
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let list = command::read(Command::new("git").current_dir(&root).args(list))?;
    let mut problems = Vec::new();
    let mut checked = 0;
    for path in list.split_terminator('\0') {
        let rules = rules_for(path);
        // A file that was deleted, and the deletion not committed yet, is still listed.
        if rules.is_empty() || !root.join(path).is_file() {
            continue;
        }
        let text = read(&root, path)?;
        checked += 1;
        problems.extend(rules.iter().flat_map(|rule| rule(path, &text)));
    }
    problems.extend(versions::check(&read(&root, "Cargo.toml")?, &read(&root, "Cargo.lock")?));
    for problem in &problems {
        eprintln!("{problem}");
    }
    let errors = problems.iter().filter(|problem| args.strict || !problem.is_warning).count();
    if errors > 0 {
        bail!("tidy: {errors} problems in {checked} files");
    }
    println!("tidy: {checked} files");
    Ok(())
}

fn rules_for(path: &str) -> &'static [Rule] {
    let file = path.rsplit('/').next().unwrap_or(path);
    if file == "Cargo.toml" {
        MANIFEST
    } else if file.ends_with(".rs") {
        RUST
    } else {
        &[]
    }
}

fn read(root: &Path, path: &str) -> Result<String> {
    fs::read_to_string(root.join(path)).with_context(|| format!("read {path}"))
}

/// For the tests of the rules: the lines on which `rule` finds something, 0 for the whole file.
#[cfg(test)]
fn found(rule: Rule, path: &str, text: &str) -> Vec<usize> {
    rule(path, text).iter().map(|problem| problem.line.unwrap_or(0)).collect()
}
