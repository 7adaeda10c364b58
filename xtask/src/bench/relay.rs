//! agent-relay beside nginx as an HTTP proxy and HAProxy in TCP mode, under posts of the size that agents send.

mod agents;
mod fleet;

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    facts, load,
    process::{cpu, peak_rss, rss},
    shipped,
};
use crate::{bench::free_address, child::Child, command, http, packages, stop::Stop};

const READY: Duration = Duration::from_secs(20);
const DRAINED: Duration = Duration::from_secs(300);
const SPARE: Duration = Duration::from_secs(20);
const BODY_BYTES: u64 = 5000;
const PATH: &str = "/intake/?api_key=bench";

/// agent-relay, durable, beside nginx as an HTTP proxy and HAProxy in TCP mode, which keep nothing. Prints only.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each load is put on each contender, in turn; medians are told.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long each load lasts, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Connections at a time; 0 leaves these loads out.
    #[arg(long, value_delimiter = ',', default_value = "100,1000")]
    connections: Vec<u32>,
    /// How many agents the fleet has; 0 for none.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(0..=60_000))]
    agents: u32,
    /// How long the fleet is looked at, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(15..=3600))]
    fleet_seconds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contender {
    AgentRelay,
    Nginx,
    Haproxy,
}

const CONTENDERS: [Contender; 3] = [Contender::Nginx, Contender::Haproxy, Contender::AgentRelay];

/// Requests per second, p50 and p99 in µs, CPU per request in µs, peak of the resident size in MiB.
type Figures = [f64; 5];

pub(crate) fn run(args: &Args) -> Result<()> {
    packages::ensure_installed(packages::FOR_BENCH)?;
    shipped::build(["agent-relay"])?;
    let stop = Stop::on_signals()?;
    // Not in memory: syncs must cost what they cost.
    let folder = tempfile::tempdir_in(command::target()?).context("make a folder")?;
    let script = folder.path().join("post.lua");
    let lines = format!("wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", {BODY_BYTES})\n");
    fs::write(&script, lines).context("write the script of wrk")?;
    println!("{}, {}.\n", facts::today(), facts::machine());
    let loads: Vec<u32> = args.connections.iter().copied().filter(|connections| *connections > 0).collect();
    for connections in loads {
        println!("{connections} connections, {} rounds of {} s:", args.rounds, args.seconds);
        let mut seen = CONTENDERS.map(|_| Vec::new());
        for _ in 0..args.rounds {
            for (contender, seen) in CONTENDERS.into_iter().zip(&mut seen) {
                let own = tempfile::tempdir_in(folder.path()).context("make a folder")?;
                let one = one(contender, connections, args.seconds, own.path(), &script, &stop);
                seen.push(one.with_context(|| format!("{contender:?} with {connections} connections"))?);
            }
        }
        println!("\n| | POST/s | p50 µs | p99 µs | CPU µs each | peak RSS MiB |\n|---|--:|--:|--:|--:|--:|");
        for (contender, seen) in CONTENDERS.into_iter().zip(seen) {
            let [rate, p50, p99, each, peak] = medians(&seen);
            println!("| {contender:?} | {rate:.0} | {p50:.0} | {p99:.0} | {each:.1} | {peak:.1} |");
        }
        println!();
    }
    if args.agents > 0 {
        let own = tempfile::tempdir_in(folder.path()).context("make a folder")?;
        let size = fleet::Size { agents: args.agents, seconds: args.fleet_seconds };
        fleet::run(size, own.path(), &stop).context("run the fleet")?;
    }
    Ok(())
}

fn medians(seen: &[Figures]) -> Figures {
    let mut at = 0..;
    Figures::default().map(|_| {
        let at = at.next().unwrap_or_default();
        let mut all: Vec<f64> = seen.iter().filter_map(|figures| figures.get(at).copied()).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
    })
}

/// Puts one load on one contender.
fn one(
    contender: Contender,
    connections: u32,
    seconds: u64,
    folder: &Path,
    script: &Path,
    stop: &Stop,
) -> Result<Figures> {
    let sink = free_address()?;
    let answer = "location / { client_max_body_size 100m; return 202; }";
    let mut backend = nginx("sink", &folder.join("sink"), sink, answer, "")?;
    wait(&mut backend, sink, stop)?;
    let (address, stats) = (free_address()?, free_address()?);
    let mut child = match contender {
        Contender::Nginx => {
            let pass = "location / { proxy_pass http://sink; proxy_http_version 1.1; proxy_set_header Connection \"\"; }";
            let upstream = format!("upstream sink {{ server {sink}; keepalive 128; }}");
            nginx("nginx", &folder.join("nginx"), address, pass, &upstream)?
        }
        Contender::Haproxy => haproxy(folder, address, sink)?,
        Contender::AgentRelay => relay(folder, address, stats, sink)?,
    };
    wait(&mut child, address, stop)?;
    let idle = rss(child.id())?;
    let before = cpu(child.id())?;
    let seen = wrk(address, connections, seconds, folder, script, stop)?;
    let spent = cpu(child.id())?.saturating_sub(before);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let each = spent.as_secs_f64() * 1e6 / seen.requests as f64;
    if contender == Contender::AgentRelay {
        println!("{}", drained(&mut child, stats, seen.requests, idle, stop)?);
    }
    let peak = mib(peak_rss(child.id())?);
    child.stop();
    backend.stop();
    let (p50, p99) = (seen.p50.unwrap_or(f64::NAN), seen.p99.unwrap_or(f64::NAN));
    Ok([seen.per_second, p50, p99, each, peak])
}

#[expect(clippy::cast_precision_loss, reason = "a size of memory")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// Waits until everything is delivered; says how long that took and what was written to disk.
fn drained(child: &mut Child, stats: SocketAddr, sent: u64, idle: u64, stop: &Stop) -> Result<String> {
    let left = balance(stats, "queued")?;
    let begun = Instant::now();
    stop.wait_for("an empty queue", DRAINED, || {
        child.check_alive()?;
        Ok(balance(stats, "queued")? == 0)
    })?;
    let took = begun.elapsed().as_secs_f64();
    let accepted = balance(stats, "accepted")?;
    // Those whose answer wrk did not wait for.
    ensure!(accepted >= sent, "{accepted} accepted of {sent}");
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let ratio = written(child)? as f64 / (accepted * BODY_BYTES) as f64;
    Ok(format!(
        "{left} queued, delivered in {took:.1} s; {ratio:.3} written per byte; idle {:.1} MiB",
        mib(idle)
    ))
}

/// A number of the balance.
fn balance(stats: SocketAddr, key: &str) -> Result<u64> {
    let (_, body) = http::get(stats, "/api/v1/balance")?;
    let told: Value = serde_json::from_str(&body).context("read the balance")?;
    told.get(key).and_then(Value::as_u64).context("a number")
}

/// How many bytes a process had written to disk.
fn written(child: &Child) -> Result<u64> {
    let io = fs::read_to_string(format!("/proc/{}/io", child.id())).context("read what was written")?;
    let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok());
    written.context("find what was written")
}

fn wrk(
    address: SocketAddr,
    connections: u32,
    seconds: u64,
    folder: &Path,
    script: &Path,
    stop: &Stop,
) -> Result<load::Seen> {
    let printed = folder.join("wrk.txt");
    let mut wrk = Command::new("wrk");
    wrk.args(["--latency", "--threads", "1", "--timeout", "10s"]);
    wrk.args(["--connections", &connections.to_string(), "--duration", &format!("{seconds}s")]);
    wrk.arg("--script").arg(script).arg(format!("http://{address}{PATH}"));
    wrk.stdout(fs::File::create(&printed).context("make a file for wrk's output")?);
    let mut child = Child::spawn("wrk", &mut wrk, None)?;
    let most = Duration::from_secs(seconds) + SPARE;
    stop.wait_for("wrk", most, || Ok(child.ended()?.is_some()))?;
    let text = fs::read_to_string(&printed).context("read wrk's output")?;
    load::parse(&text).with_context(|| format!("wrk said:\n{text}{}", child.last_words()))
}

fn wait(child: &mut Child, address: SocketAddr, stop: &Stop) -> Result<()> {
    stop.wait_for(child.name, READY, || {
        child.check_alive()?;
        Ok(std::net::TcpStream::connect(address).is_ok())
    })
}

fn nginx(
    name: &'static str,
    folder: &Path,
    address: SocketAddr,
    location: &str,
    upstream: &str,
) -> Result<Child> {
    fs::create_dir_all(folder)?;
    let configuration = format!(
        "user root; daemon off; worker_processes 1; pid {0}/pid; error_log {0}/error.log crit;\n\
         events {{ worker_connections 8192; }}\n\
         http {{ access_log off; keepalive_requests 100000000; client_body_buffer_size 64k;\n\
         client_body_temp_path {0}/a; proxy_temp_path {0}/b; fastcgi_temp_path {0}/c; uwsgi_temp_path {0}/d; scgi_temp_path {0}/e;\n\
         {upstream}\nserver {{ listen {address} backlog=4096; {location} }} }}\n",
        folder.display()
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration).context("configure nginx")?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(file);
    Child::spawn(name, &mut command, None)
}

fn haproxy(folder: &Path, address: SocketAddr, sink: SocketAddr) -> Result<Child> {
    let configuration = format!(
        "global\n nbthread 1\n maxconn 8192\ndefaults\n mode tcp\n timeout client 30s\n timeout server 30s\n timeout connect 5s\n\
         listen agents\n bind {address}\n server sink {sink}\n"
    );
    let file = folder.join("haproxy.cfg");
    fs::write(&file, configuration).context("configure HAProxy")?;
    Child::spawn("haproxy", Command::new("haproxy").arg("-f").arg(file), None)
}

fn relay(folder: &Path, address: SocketAddr, stats: SocketAddr, sink: SocketAddr) -> Result<Child> {
    let mut command = Command::new(shipped::binary("agent-relay")?);
    command
        .env("DATA_DIR", folder.join("data"))
        .env("DD_URL", format!("http://{sink}"))
        .env("API_KEY", "own")
        .env("LISTEN_PORT", address.port().to_string())
        .env("STATS_ADDR", stats.to_string())
        .env("AGENT_MAX_BYTES", "10GiB");
    Child::spawn("agent-relay", &mut command, None)
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_figure_has_its_own_median() {
        let seen = [[1.0, 9.0, 0.0, 5.0, 5.0], [3.0, 7.0, 0.0, 5.0, 5.0], [2.0, 8.0, 9.0, 5.0, 5.0]];
        assert_eq!(super::medians(&seen), [2.0, 8.0, 0.0, 5.0, 5.0]);
    }
}
