//! What it costs lw_tcp_proxy to let clients wait, how soon they go on, and what both daemons take at rest.

mod crowd;
mod stage;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use self::{
    crowd::{Crowd, Kind},
    stage::{Machine, Stage},
};
use super::{contest, facts, process, shipped};
use crate::stop::Stop;

/// Rules of the daemons at rest.
const RULES: u16 = 1_000;
/// Beside the descriptors of the clients.
const SPARE_DESCRIPTORS: u64 = 400;
/// The wake of a machine takes longer than this, and so are these awaited.
const ASLEEP_FOR: Duration = Duration::from_secs(8);
/// Between the ports of two machines that open.
const APART: Duration = Duration::from_millis(37);

/// lw_tcp_proxy beside HAProxy, nginx and Envoy, before a target that is awake; then clients that wait. Writes the
/// first to docs/BENCHMARKS.md when complete, and prints the second.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    contest: contest::Args,
    /// Only clients that wait, and the daemons at rest.
    #[arg(long)]
    waiting: bool,
    /// How many clients wait for one target.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    clients: u32,
    /// How many targets wake while somebody waits for each.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=500))]
    wakes: u16,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if !args.waiting {
        contest::run(&contest::AUTOSTOP, &args.contest)?;
    }
    shipped::build(["autostop"])?;
    let clients = args.clients.min(room_for()?);
    if clients < args.clients {
        println!("{clients} clients instead of {}: the limit of descriptors allows no more.", args.clients);
    }
    let stop = Stop::on_signals()?;
    println!("{}, {}.\n", facts::today(), facts::machine());
    at_rest(&stop)?;
    for kind in [Kind::Tcp, Kind::Http] {
        held(kind, clients, &stop).with_context(|| format!("{} clients that wait", kind.name()))?;
    }
    for kind in [Kind::Tcp, Kind::Http] {
        wakes(kind, args.wakes, &stop).with_context(|| format!("wakes for {}", kind.name()))?;
    }
    Ok(())
}

/// How many clients there are descriptors for: here and in the daemons, which inherit the limit, each takes two.
fn room_for() -> Result<u32> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).context("ask how many descriptors there may be")?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("take more descriptors")?;
    Ok(u32::try_from(most.saturating_sub(SPARE_DESCRIPTORS) / 2).unwrap_or(u32::MAX))
}

fn at_rest(stop: &Stop) -> Result<()> {
    let stage = Stage::start(RULES, Kind::Tcp, stop)?;
    println!(
        "At rest with {RULES} rules: lw_proxy {:.1} MiB, lw_tcp_proxy {:.1} MiB.",
        mib(process::rss(stage.control())?),
        mib(process::rss(stage.plane())?)
    );
    Ok(())
}

/// All at one target that sleeps; the memory is what the process takes, without the kernel's own for sockets.
fn held(kind: Kind, clients: u32, stop: &Stop) -> Result<()> {
    let stage = Stage::start(1, kind, stop)?;
    let before = process::rss(stage.plane())?;
    let mut crowd = Crowd::come(kind, &vec![stage.entrance(0); clients as usize])?;
    stop.wait_for("all to be held", stage::PATIENCE, || Ok(stage.parked()? == u64::from(clients)))?;
    let after = process::rss(stage.plane())?;
    let machine = Machine::open(stage.target(0), kind)?;
    crowd.all_served(stop)?;
    let calls = stage.starts(0)?;
    ensure!(calls == 1, "the machine was started {calls} times");
    println!(
        "{clients} {} clients held: {:.1} KiB each; one start, all served.",
        kind.name(),
        after.saturating_sub(before) as f64 / f64::from(clients)
    );
    drop(machine);
    Ok(())
}

/// From the moment when the port of the machine opens to the first byte that it hears of the client.
fn wakes(kind: Kind, wakes: u16, stop: &Stop) -> Result<()> {
    let stage = Stage::start(wakes, kind, stop)?;
    let entrances: Vec<_> = (0..wakes).map(|number| stage.entrance(number)).collect();
    let mut crowd = Crowd::come(kind, &entrances)?;
    stop.wait_for("all to be held", stage::PATIENCE, || Ok(stage.parked()? == u64::from(wakes)))?;
    let since = std::time::Instant::now();
    stop.wait_for("machines to take their time", ASLEEP_FOR * 2, || Ok(since.elapsed() >= ASLEEP_FOR))?;
    let mut machines = Vec::new();
    for number in 0..wakes {
        machines.push(Machine::open(stage.target(number), kind)?);
        let since = std::time::Instant::now();
        stop.wait_for("the next one", APART * 10, || Ok(since.elapsed() >= APART))?;
    }
    crowd.all_served(stop)?;
    let mut took = machines.iter().map(Machine::heard_after).collect::<Result<Vec<_>>>()?;
    took.sort_unstable();
    let at =
        |part: usize| took.get((took.len() * part / 100).min(took.len() - 1)).copied().unwrap_or_default();
    println!(
        "{wakes} wakes with a {} client: first byte {:.0} ms after the port opened (p50), {:.0} ms (p99).",
        kind.name(),
        at(50).as_secs_f64() * 1e3,
        at(99).as_secs_f64() * 1e3
    );
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn mib(kibibytes: u64) -> f64 {
    kibibytes as f64 / 1024.0
}
