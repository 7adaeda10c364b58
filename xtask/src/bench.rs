//! Measurements, committed to docs/BENCHMARKS.md with the way to repeat them.

mod autostop;
mod contest;
mod facts;
mod flag;
mod forwarder;
mod load;
mod pages;
mod process;
mod relay;
mod shipped;
mod start;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result};

/// Measure, on this machine and in one run, what is compared.
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// goproxy with full capture beside HAProxy, nginx and Envoy. Writes docs/BENCHMARKS.md when complete.
    Capture(contest::Args),
    Autostop(autostop::Args),
    Forwarder(forwarder::Args),
    AgentRelay(relay::Args),
    FlagRelay(flag::Args),
    Start(start::Args),
}

pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Capture(args) => contest::run(&contest::CAPTURE, args),
        Bench::Autostop(args) => autostop::run(args),
        Bench::Forwarder(args) => forwarder::run(args),
        Bench::AgentRelay(args) => relay::run(args),
        Bench::FlagRelay(args) => flag::run(args),
        Bench::Start(args) => start::run(args),
    }
}

/// An address of loopback that was free a moment ago.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    listener.local_addr().context("find a free port")
}
