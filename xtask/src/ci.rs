//! Every check, in the order in which they fail fastest; `.ci/run` calls it.

use std::{
    env,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use crate::{
    command::{self, cargo, root},
    packages, test, tidy,
    tools::{DENY, MACHETE, TAPLO, TYPOS, Tool},
};

/// When what is shipped has to be built, after the start of a run that is of everything.
const TIME_TO_SHIP: Duration = Duration::from_secs(35 * 60);
/// How timeout(1) ends when it had to end the other.
const TIMED_OUT: i32 = 124;

/// Run every check that must pass before a change is taken.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these steps.
    #[arg(long, value_delimiter = ',', value_name = "STEP,…")]
    only: Vec<Step>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    Fmt,
    Tidy,
    Typos,
    Taplo,
    Deny,
    Machete,
    Clippy,
    Doc,
    Fuzz,
    Test,
    Packages,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut times = Vec::new();
    let mut failed = Vec::new();
    let begin = Instant::now();
    for step in Step::value_variants() {
        if !args.only.is_empty() && !args.only.contains(step) {
            continue;
        }
        println!("==> {}", step.name());
        let start = Instant::now();
        let in_a_whole_run = args.only.is_empty() && *step == Step::Packages;
        let ran = if in_a_whole_run { packages_in_time(begin) } else { step.run() };
        if let Err(error) = ran {
            eprintln!("{}: {error:#}", step.name());
            failed.push(step.name());
        }
        times.push((step.name(), start.elapsed()));
    }
    println!("{}", table(&times));
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

impl Step {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn run(self) -> Result<()> {
        match self {
            Self::Fmt => {
                command::run(&mut cargo(["fmt", "--all", "--check"]))?;
                in_fuzz(&["fmt", "--all", "--check"])
            }
            Self::Tidy => tidy::run(&tidy::Args::default()),
            Self::Typos => tool(&TYPOS, &[]),
            Self::Taplo => tool(&TAPLO, &["fmt", "--check"]).and_then(|()| tool(&TAPLO, &["lint"])),
            Self::Deny => tool(&DENY, &["--log-level", "error", "check", "bans", "licenses", "sources"]),
            Self::Machete => tool(&MACHETE, &[]),
            Self::Clippy => command::run(&mut cargo([
                "clippy",
                "--workspace",
                "--all-targets",
                "--locked",
                "--",
                "-D",
                "warnings",
            ])),
            Self::Doc => {
                let mut doc = cargo(["doc", "--workspace", "--no-deps", "--document-private-items"]);
                command::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
            }
            // Not built here: it only must not rot.
            Self::Fuzz => in_fuzz(&["check", "--all-targets"]),
            Self::Test => test::run(&test::Args::default()),
            Self::Packages => test::run(&test::Args::packages()),
        }
    }
}

/// Tests what is shipped, unless building it takes longer than a run has; the next finds what this one built.
fn packages_in_time(begin: Instant) -> Result<()> {
    // Before the clock counts: an apt that is ended in its midst leaves the machine half installed.
    packages::ensure_installed(packages::FOR_DIST)?;
    let left = TIME_TO_SHIP.saturating_sub(begin.elapsed()).as_secs().max(1);
    let me = env::current_exe().context("find this program")?;
    let status = Command::new("timeout").arg(left.to_string()).arg(me).arg("dist").status();
    let status = status.context("start timeout")?;
    if status.code() == Some(TIMED_OUT) {
        println!(
            "LEFT OUT: what is shipped was not built {} minutes after the start. The next run goes on from there; \
             --only packages takes the time that it needs.",
            TIME_TO_SHIP.as_secs() / 60
        );
        return Ok(());
    }
    ensure!(status.success(), "xtask dist ended with {status}");
    Step::Packages.run()
}

/// The fuzz targets are a workspace of their own.
fn in_fuzz(args: &[&str]) -> Result<()> {
    let manifest = root().join("fuzz/Cargo.toml");
    if !manifest.is_file() {
        println!("There is no fuzz workspace yet.");
        return Ok(());
    }
    let (verb, rest) = args.split_at(1);
    command::run(cargo(verb).arg("--manifest-path").arg(manifest).args(rest))
}

fn tool(tool: &Tool, args: &[&str]) -> Result<()> {
    // taplo tells every file that it looks at otherwise.
    command::run(Command::new(tool.path()?).current_dir(root()).env("RUST_LOG", "warn").args(args))
}

fn table(times: &[(String, Duration)]) -> String {
    let line = |(name, time): &(String, Duration)| format!("{name:<8} {:>7.1} s", time.as_secs_f64());
    let total = ("total".to_owned(), times.iter().map(|(_, time)| *time).sum());
    times.iter().chain([&total]).map(line).collect::<Vec<_>>().join("\n")
}
