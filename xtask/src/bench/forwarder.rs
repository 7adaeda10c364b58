//! forwarder on one core: how fast it stores, how small it keeps, how soon it finds.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{facts, pages, process, shipped};
use crate::{
    bench::free_address,
    child::Child,
    command::{self, root},
    http,
    stop::Stop,
};

const COUNT_OF_THE_PAGE: u64 = 10_000_000;
const READY: Duration = Duration::from_secs(30);
const SEALED: Duration = Duration::from_secs(600);

/// The loads of the second half: what is looked for, and the query that does it. `{n}` varies.
const SEARCHES: &[(&str, &str)] = &[
    ("newest page", "limit=50"),
    ("status 5xx", "limit=50&status=5xx"),
    ("status 503, one method", "limit=50&status=503&method=PUT"),
    ("path prefix", "limit=50&path=/api/v1/orders/{n}"),
    ("method and path", "limit=50&method=DELETE&path=/api/v1/carts/{n}"),
    ("slower than 700 ms", "limit=50&min_duration_ms=7{n}"),
    ("an hour, long ago", "limit=50&since=20h&until=19h&status=404"),
    ("nothing fits", "limit=50&status=418"),
];

/// forwarder alone: seeded exchanges in, durably, then filtered queries over all of them.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many exchanges are stored and then searched.
    #[arg(long, default_value_t = COUNT_OF_THE_PAGE)]
    count: u64,
    /// How often each query is asked.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=99))]
    times: u32,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    shipped::build(["forwarder", "tests"])?;
    let stop = Stop::on_signals()?;
    // Not in memory: syncs must cost what they cost.
    let data = tempfile::tempdir_in(command::target()?).context("make a data folder")?;
    let (grpc, analyzer) =
        (free_address()?.port(), SocketAddr::from(([127, 0, 0, 1], free_address()?.port())));
    let mut forwarder = start(data.path(), grpc, analyzer)?;
    stop.wait_for("forwarder", READY, || {
        forwarder.check_alive()?;
        Ok(http::is_ok(analyzer, "/readyz"))
    })?;

    let before = process::cpu(forwarder.id())?;
    let told = command::read(
        Command::new("taskset")
            .args(["-c", "1"])
            .arg(shipped::binary("exchanges")?)
            .args([format!("--to=127.0.0.1:{grpc}"), format!("--count={}", args.count)]),
    )?;
    let told: Value = serde_json::from_str(told.trim()).context("read what the load said")?;
    let number = |field: &str| told.get(field).and_then(Value::as_f64).context("a number");
    let (seconds, raw) = (number("seconds")?, number("raw_bytes")?);
    stop.wait_for("everything to be sealed", SEALED, || {
        forwarder.check_alive()?;
        let sealed = metric(analyzer, "forwarder_sealed_rows_total")?;
        #[expect(clippy::cast_precision_loss, reason = "compared, not computed with")]
        Ok(sealed >= args.count as f64)
    })?;
    let cpu = process::cpu(forwarder.id())? - before;
    let sealed = metric(analyzer, "forwarder_sealed_bytes_total")?;
    let peak = process::peak_rss(forwarder.id())?;

    let mut rows = String::new();
    for (title, query) in SEARCHES {
        let (p50, p95) = search(analyzer, query, args.times).with_context(|| format!("ask for {title}"))?;
        rows.push_str(&format!("| {title} | {p50:.0} ms | {p95:.0} ms |\n"));
    }
    forwarder.stop();

    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let count = args.count as f64;
    let text = format!(
        "## forwarder alone\n\n\
         {}, {}. Repeat with `cargo xtask bench forwarder`.\n\n\
         {} seeded exchanges of {:.0} bytes (heads and bodies), sent by one peer with goproxy's window, forwarder on one core, the peer on the other; a disk, not memory. Built with the profile that users get.\n\n\
         | Storing | |\n|---|---|\n\
         | exchanges/s, acknowledged after fsync | {:.0} |\n\
         | CPU µs per exchange, sealing included | {:.1} |\n\
         | sealed bytes / exchange bytes | {:.2} |\n\
         | peak RSS | {} MiB |\n\n\
         | Finding, {} times each, over all of them | p50 | p95 |\n|---|---|---|\n{rows}",
        facts::today(),
        facts::machine(),
        args.count,
        raw / count,
        count / seconds,
        cpu.as_secs_f64() * 1e6 / count,
        sealed / raw,
        peak / 1024,
        args.times,
    );
    println!("\n{text}");
    if args.count >= COUNT_OF_THE_PAGE {
        pages::write(&root().join("docs/BENCHMARKS.md"), "bench forwarder", &text)?;
        println!("Written to docs/BENCHMARKS.md.");
    }
    Ok(())
}

fn start(data: &Path, grpc: u16, analyzer: SocketAddr) -> Result<Child> {
    let mut command = Command::new("taskset");
    command
        .args(["-c", "0"])
        .arg(shipped::binary("forwarder")?)
        .env("SERVICE_PORT", grpc.to_string())
        .env("ANALYZER_ADDR", analyzer.to_string())
        .env("DATA_DIR", data.join("store"))
        .env("STORE_MAX_BYTES", "0");
    let log = fs::File::create(data.join("forwarder.log")).context("make a log")?;
    Child::spawn("forwarder", &mut command, Some(log))
}

fn metric(analyzer: SocketAddr, name: &str) -> Result<f64> {
    let (_, text) = http::get(analyzer, "/metrics")?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).with_context(|| format!("find {name}"))
}

/// Median and 95th percentile in milliseconds, from question to the last byte of the answer.
fn search(analyzer: SocketAddr, query: &str, times: u32) -> Result<(f64, f64)> {
    let mut took = Vec::new();
    for n in 0..times {
        let path = format!("/api/v1/pairs?{}", query.replace("{n}", &n.to_string()));
        let asked = Instant::now();
        let (status, body) = http::get(analyzer, &path)?;
        took.push(asked.elapsed().as_secs_f64() * 1e3);
        ensure!(status == 200, "{path} answered {status}: {body}");
    }
    took.sort_by(f64::total_cmp);
    let at = |part: usize| {
        took.get((took.len() * part).div_ceil(100).saturating_sub(1)).copied().context("a sample")
    };
    Ok((at(50)?, at(95)?))
}
