//! Everything that is done to this workspace: `cargo xtask --help` lists it.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for the terminal: what it prints is what it is for"
)]

mod bench;
mod child;
mod ci;
mod command;
mod debian;
mod demo;
mod dist;
mod engine;
mod http;
mod packages;
mod soak;
mod stop;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Everything that is done to this workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Demo(demo::Args),
    Test(test::Args),
    Soak(soak::Args),
    Tidy(tidy::Args),
    #[command(subcommand)]
    Bench(bench::Bench),
    Dist(dist::Args),
    Ci(ci::Args),
}

fn main() -> ExitCode {
    if let Some(failed) = dist::paths::compile() {
        return failed;
    }
    let done = match Args::parse().task {
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Soak(args) => soak::run(&args),
        Task::Tidy(args) => tidy::run(&args),
        Task::Bench(bench) => bench::run(&bench),
        Task::Dist(args) => dist::run(&args),
        Task::Ci(args) => ci::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Args;

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        Args::command().debug_assert();
    }
}
