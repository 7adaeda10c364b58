//! One of ours beside other proxies, under the same loads, in turns.

mod field;
mod loads;
mod table;

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use self::{
    field::{Contestant, Field, Forwarder, Runner},
    loads::Load,
};
use super::{pages, process, shipped};
use crate::{command::root, packages, stop::Stop};

const ENOUGH_ROUNDS: u32 = 5;
/// Work that goes on after the load counts as well, up to this long.
const SETTLE: Duration = Duration::from_secs(20);
/// Longer than the forwarder's sealing rests.
const SETTLE_LOOK: Duration = Duration::from_millis(700);

/// Who is compared with whom.
pub(crate) struct Contest {
    /// As `cargo xtask bench` names it.
    name: &'static str,
    heading: &'static str,
    contestants: &'static [Contestant],
    /// Each of ours, and whose figures its own are divided by.
    ratios: &'static [(Contestant, Contestant)],
    remarks: &'static str,
}

/// goproxy with full capture.
pub(crate) static CAPTURE: Contest = Contest {
    name: "capture",
    heading: "Capture",
    contestants: &[
        Contestant::Direct,
        Contestant::Haproxy,
        Contestant::Nginx,
        Contestant::EnvoyTcp,
        Contestant::EnvoyHttp,
        Contestant::Goproxy,
    ],
    ratios: &[(Contestant::Goproxy, Contestant::Haproxy)],
    remarks: "goproxy captures every exchange in full, redacted, for a running forwarder; \"stored\" is the part of \
              the exchanges that reached its disk, the rest was dropped and counted.\n\
              While all want the processor the forwarder puts off sealing, until 128 MiB of log wait for it; what it does \
              then is in its CPU, and only in the rate of loads that last longer.\n",
};

/// lw_tcp_proxy before a target that is awake.
pub(crate) static AUTOSTOP: Contest = Contest {
    name: "autostop",
    heading: "Autostop",
    contestants: &[
        Contestant::Direct,
        Contestant::HaproxyHttp,
        Contestant::NginxHttp,
        Contestant::EnvoyHttp,
        Contestant::LwHttp,
        Contestant::Haproxy,
        Contestant::EnvoyTcp,
        Contestant::LwTcp,
    ],
    ratios: &[
        (Contestant::LwHttp, Contestant::HaproxyHttp),
        (Contestant::LwHttp, Contestant::EnvoyHttp),
        (Contestant::LwTcp, Contestant::Haproxy),
        (Contestant::LwTcp, Contestant::EnvoyTcp),
    ],
    remarks: "The target of lw_tcp_proxy is awake; every request and connection is counted as activity.\n",
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often everything is measured; the table shows medians.
    #[arg(long, default_value_t = ENOUGH_ROUNDS, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each measurement lasts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Only these contestants.
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    only: Vec<Contestant>,
    /// Only these loads.
    #[arg(long, value_delimiter = ',', value_name = "LOAD,…")]
    loads: Vec<Load>,
}

/// One contestant under one load, once.
#[derive(Clone, Default)]
struct Cell {
    per_second: f64,
    p50: Option<f64>,
    p99: Option<f64>,
    /// µs of CPU time per request, of all the proxy's processes.
    cpu: Option<f64>,
    /// The same of the forwarder.
    forwarder_cpu: Option<f64>,
    peak_kib: Option<f64>,
    /// The part of the exchanges seen that was stored.
    stored: Option<f64>,
}

/// goproxy's resident size in KiB.
struct Memory {
    idle: u64,
    /// With 1,000 busy connections and no forwarder.
    alone: u64,
}

pub(crate) fn run(contest: &Contest, args: &Args) -> Result<()> {
    let contestants = chosen(contest.contestants, &args.only);
    let loads = chosen(Load::value_variants(), &args.loads);
    packages::ensure_installed(packages::FOR_BENCH)?;
    let packages: BTreeSet<_> =
        contestants.iter().flat_map(|contestant| contestant.packages()).copied().collect();
    shipped::build(packages)?;
    let stop = Stop::on_signals()?;
    let mut field = Field::start(&contestants, &stop)?;
    let idle = field.goproxy().map(|goproxy| resting_rss(goproxy.id(), &stop)).transpose()?;

    let mut cells = vec![vec![Vec::new(); contestants.len()]; loads.len()];
    for (load, cells) in loads.iter().zip(&mut cells) {
        for round in 1..=args.rounds {
            for (runner, cells) in field.runners.iter().zip(&mut *cells) {
                let cell = measure(&field, runner, *load, Duration::from_secs(args.seconds), &stop)
                    .with_context(|| format!("{} through {}", load.title(), runner.contestant.title()))?;
                println!(
                    "{round}/{} {:<32} {:<16} {}",
                    args.rounds,
                    load.title(),
                    runner.contestant.title(),
                    table::line(*load, &cell)
                );
                cells.push(cell);
            }
        }
    }
    let memory = match idle {
        Some(idle) => Some(Memory { idle, alone: rss_alone(&mut field, args.seconds, &stop)? }),
        None => None,
    };
    let measured =
        table::Measured { contest, args, contestants: &contestants, loads: &loads, cells: &cells, memory };
    let text = measured.markdown();
    println!("\n{text}");
    if args.only.is_empty() && args.loads.is_empty() && args.rounds >= ENOUGH_ROUNDS {
        pages::write(&root().join("docs/BENCHMARKS.md"), &format!("bench {}", contest.name), &text)?;
        println!("Written to docs/BENCHMARKS.md.");
    } else {
        println!("docs/BENCHMARKS.md is left alone: it takes everything, at least {ENOUGH_ROUNDS} rounds.");
    }
    Ok(())
}

/// What was asked for, in the one order; everything if nothing was.
fn chosen<T: Copy + PartialEq>(all: &[T], asked: &[T]) -> Vec<T> {
    all.iter().copied().filter(|one| asked.is_empty() || asked.contains(one)).collect()
}

fn measure(field: &Field, runner: &Runner, load: Load, length: Duration, stop: &Stop) -> Result<Cell> {
    let proxy = runner.child.as_ref().map(crate::child::Child::id);
    let forwarder = field.forwarder.as_ref().filter(|_| runner.contestant == Contestant::Goproxy);
    let ids: Vec<u32> = proxy.into_iter().chain(forwarder.map(Forwarder::id)).collect();
    settle(&ids, stop)?;
    let stored_before = forwarder.map(Forwarder::accounting).transpose()?;
    let before = ids.iter().map(|id| process::cpu(*id)).collect::<Result<Vec<_>>>()?;
    proxy.map(process::reset_peak_rss).transpose()?;

    let seen = load.run(runner.addr, length, field.folder(), stop)?;

    settle(&ids, stop)?;
    let after = ids.iter().map(|id| process::cpu(*id)).collect::<Result<Vec<_>>>()?;
    let spent = before.iter().zip(&after).map(|(before, after)| after.saturating_sub(*before));
    let mut per_request = spent.map(|spent| spent.as_secs_f64() * 1e6 / seen.requests as f64);
    let peak = proxy.map(process::peak_rss).transpose()?;
    let stored_after = forwarder.map(Forwarder::accounting).transpose()?;
    Ok(Cell {
        per_second: seen.per_second,
        p50: seen.p50,
        p99: seen.p99,
        cpu: per_request.next(),
        forwarder_cpu: per_request.next(),
        peak_kib: peak.map(|peak| peak as f64),
        stored: stored_before.zip(stored_after).and_then(|(before, after)| after.part_stored_since(before)),
    })
}

/// Waits until these processes are at rest, so that what they do late is counted, and as theirs.
fn settle(ids: &[u32], stop: &Stop) -> Result<()> {
    let sum = || ids.iter().map(|id| process::cpu(*id)).sum::<Result<Duration>>();
    let start = Instant::now();
    let mut before = sum()?;
    while !ids.is_empty() && start.elapsed() < SETTLE {
        ensure!(!stop.asked(), "stopped");
        thread::sleep(SETTLE_LOOK);
        let now = sum()?;
        if now.saturating_sub(before) <= Duration::from_millis(10) {
            break;
        }
        before = now;
    }
    Ok(())
}

fn resting_rss(id: u32, stop: &Stop) -> Result<u64> {
    settle(&[id], stop)?;
    process::rss(id)
}

fn rss_alone(field: &mut Field, seconds: u64, stop: &Stop) -> Result<u64> {
    let runner = field.goproxy_alone(stop)?;
    let id = runner.child.as_ref().context("a goproxy that runs")?.id();
    Load::Small1000.run(runner.addr, Duration::from_secs(seconds), field.folder(), stop)?;
    process::peak_rss(id)
}
