//! Measurements, committed to docs/BENCHMARKS.md with the way to repeat them.

mod capture;
mod facts;
mod forwarder;
mod load;
mod pages;
mod process;

use anyhow::Result;

/// Measure, on this machine and in one run, what is compared.
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    Capture(capture::Args),
    Forwarder(forwarder::Args),
}

pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Capture(args) => capture::run(args),
        Bench::Forwarder(args) => forwarder::run(args),
    }
}
