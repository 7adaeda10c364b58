//! flag-relay on one core beside nginx that serves the same bytes from memory; many streams; its start and its size.

mod sample;
mod streams;

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Command,
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{facts, load, process::rss, shipped};
use crate::{child::Child, http, packages, stop::Stop};

const READY: Duration = Duration::from_secs(60);
const SPARE: Duration = Duration::from_secs(20);
const FLAGS: usize = 350;

/// flag-relay on one core beside nginx with the same bytes; streams, memory and start. Prints only.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long each load lasts, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Connections at a time, of the loads.
    #[arg(long, default_value_t = 32)]
    connections: u32,
    /// How many streams are opened.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=50_000))]
    streams: u64,
    /// How many environments of 30 flags a start reads.
    #[arg(long, default_value_t = 1_000)]
    environments: usize,
}

/// What is asked.
struct Question {
    name: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Option<&'static str>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    packages::ensure_installed(packages::FOR_BENCH)?;
    shipped::build(["flag-relay"])?;
    let stop = Stop::on_signals()?;
    let count = usize::try_from(args.streams)?;
    streams::make_room(count)?;
    println!("{}, {}.\n", facts::today(), facts::machine());
    let folder = tempfile::tempdir().context("make a folder")?;
    starts(args.environments, &folder.path().join("starts"), &stop)?;
    let own = folder.path().join("loads");
    let flags = own.join("flags");
    fs::create_dir_all(&flags)?;
    sample::write(&flags, 0, FLAGS, "first")?;
    let (mut relay, address, status) = relay(&own, &["taskset", "--cpu-list", "0"])?;
    ready(&mut relay, status, &stop)?;
    println!("Idle with one environment of {FLAGS} flags: {:.1} MiB resident.\n", mib(rss(relay.id())?));
    let token = token(address)?;
    println!("One core each; {} connections.\n", args.connections);
    println!("| | bytes | flag-relay /s | p50 µs | p99 µs | nginx /s | p50 µs | p99 µs |");
    println!("|---|---|---|---|---|---|---|---|");
    for question in questions(&token) {
        one(&question, args, address, &own, &stop).with_context(|| question.name.to_owned())?;
    }
    relay.stop();
    let (mut relay, address, status) = self::relay(&own, &[])?;
    ready(&mut relay, status, &stop)?;
    let seen = streams::run(&mut relay, address, &token, &flags, count, &stop)?;
    let [half, most, all] = seen.heard.map(|at| at.as_secs_f64());
    println!("\n{count} streams: {:.1} KiB each beside the socket.", seen.bytes_each / 1024.0);
    println!("A change has reached half of them in {half:.2} s, 99% in {most:.2} s, all in {all:.2} s.");
    relay.stop();
    Ok(())
}

/// How long a start takes, with everything from the source and then with what was kept.
fn starts(environments: usize, folder: &Path, stop: &Stop) -> Result<()> {
    let flags = folder.join("flags");
    fs::create_dir_all(&flags)?;
    for number in 0..environments {
        sample::write(&flags, number, 30, "first")?;
    }
    for what in ["from its folder", "once more, with what it kept"] {
        let begun = Instant::now();
        let (mut child, _, status) = relay(folder, &[])?;
        ready(&mut child, status, stop)?;
        let took = begun.elapsed().as_secs_f64();
        let size = mib(rss(child.id())?);
        println!("Ready with {environments} environments of 30 flags {what}: {took:.2} s, {size:.1} MiB.");
        child.stop();
    }
    let empty = folder.join("empty");
    fs::create_dir_all(empty.join("flags"))?;
    sample::write(&empty.join("flags"), 0, 1, "first")?;
    let (mut child, _, status) = relay(&empty, &[])?;
    ready(&mut child, status, stop)?;
    println!("Idle with one flag: {:.1} MiB resident.", mib(rss(child.id())?));
    child.stop();
    Ok(())
}

fn questions(token: &str) -> Vec<Question> {
    let bearer = || vec![("Authorization", format!("Bearer {token}"))];
    let key = || vec![("X-API-Key", sample::key(0)), ("Content-Type", "application/json".to_owned())];
    let values = format!("/client/env/{}/target/james/evaluations", sample::ENVIRONMENT);
    let context =
        r#"{\"context\":{\"targetingKey\":\"james\",\"plan\":\"pro\",\"email\":\"james@example.com\"}}"#;
    let flags = "/ofrep/v1/evaluate/flags".to_owned();
    vec![
        Question { name: "one flag", path: format!("{values}/flag-2"), headers: bearer(), body: None },
        Question {
            name: "one flag, OFREP",
            path: format!("{flags}/flag-2"),
            headers: key(),
            body: Some(context),
        },
        Question { name: "all flags", path: values, headers: bearer(), body: None },
        Question { name: "all flags, OFREP", path: flags, headers: key(), body: Some(context) },
    ]
}

fn one(question: &Question, args: &Args, address: SocketAddr, folder: &Path, stop: &Stop) -> Result<()> {
    let body = curl(question, address)?;
    let own = wrk(question, address, args, folder, stop)?;
    let place = free()?;
    // tmpfs: the same bytes, from memory.
    let files = tempfile::tempdir_in("/dev/shm").context("make a folder in memory")?;
    fs::write(files.path().join("answer"), &body)?;
    let mut nginx = nginx(&folder.join("nginx"), files.path(), place)?;
    stop.wait_for("nginx", READY, || {
        nginx.check_alive()?;
        Ok(std::net::TcpStream::connect(place).is_ok())
    })?;
    let same = Question { name: "nginx", path: "/answer".to_owned(), headers: Vec::new(), body: None };
    let floor = wrk(&same, place, args, folder, stop)?;
    nginx.stop();
    let told = |seen: &load::Seen| {
        let [p50, p99] = [seen.p50, seen.p99].map(Option::unwrap_or_default);
        format!("{:.0} | {p50:.0} | {p99:.0}", seen.per_second)
    };
    println!("| {} | {} | {} | {} |", question.name, body.len(), told(&own), told(&floor));
    Ok(())
}

/// The answer, as it is served.
fn curl(question: &Question, address: SocketAddr) -> Result<Vec<u8>> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--fail"]);
    for (name, value) in &question.headers {
        command.arg("--header").arg(format!("{name}: {value}"));
    }
    if let Some(body) = question.body {
        command.args(["--data", &body.replace("\\\"", "\"")]);
    }
    let output = command.arg(format!("http://{address}{}", question.path)).output().context("run curl")?;
    ensure!(output.status.success() && !output.stdout.is_empty(), "curl ended with {}", output.status);
    Ok(output.stdout)
}

fn wrk(
    question: &Question,
    address: SocketAddr,
    args: &Args,
    folder: &Path,
    stop: &Stop,
) -> Result<load::Seen> {
    let (script, printed) = (folder.join("ask.lua"), folder.join("wrk.txt"));
    let mut lines = String::new();
    if let Some(body) = question.body {
        lines.push_str(&format!("wrk.method = \"POST\"\nwrk.body = \"{body}\"\n"));
    }
    for (name, value) in &question.headers {
        lines.push_str(&format!("wrk.headers[\"{name}\"] = \"{value}\"\n"));
    }
    fs::write(&script, lines).context("write the script of wrk")?;
    let mut wrk = Command::new("taskset");
    wrk.args(["--cpu-list", "1", "wrk", "--latency", "--threads", "1", "--timeout", "10s"]);
    wrk.args(["--connections", &args.connections.to_string()]);
    wrk.args(["--duration", &format!("{}s", args.seconds), "--script"]).arg(script);
    wrk.arg(format!("http://{address}{}", question.path));
    wrk.stdout(fs::File::create(&printed).context("make a file for wrk's output")?);
    let mut child = Child::spawn("wrk", &mut wrk, None)?;
    let most = Duration::from_secs(args.seconds) + SPARE;
    stop.wait_for("wrk", most, || Ok(child.ended()?.is_some()))?;
    let text = fs::read_to_string(&printed).context("read wrk's output")?;
    load::parse(&text).with_context(|| format!("wrk said:\n{text}{}", child.last_words()))
}

fn relay(folder: &Path, under: &[&str]) -> Result<(Child, SocketAddr, SocketAddr)> {
    let (address, status) = (free()?, free()?);
    let binary = shipped::binary("flag-relay")?;
    let mut command = match under.split_first() {
        Some((program, words)) => {
            let mut command = Command::new(program);
            command.args(words).arg(binary);
            command
        }
        None => Command::new(binary),
    };
    command
        .args(["--config", "/dev/null"])
        .env("OFFLINE", "true")
        .env("AUTH_SECRET", "of the measurement")
        .env("CONFIG_DIR", folder.join("flags"))
        .env("DATA_DIR", folder.join("data"))
        .env("PORT", address.port().to_string())
        .env("STATUS_ADDR", status.to_string());
    Ok((Child::spawn("flag-relay", &mut command, None)?, address, status))
}

fn ready(child: &mut Child, status: SocketAddr, stop: &Stop) -> Result<()> {
    stop.wait_for("flag-relay", READY, || {
        child.check_alive()?;
        Ok(http::is_ok(status, "/readyz"))
    })
}

fn token(address: SocketAddr) -> Result<String> {
    let body = format!("{{\"apiKey\":\"{}\"}}", sample::key(0));
    let mut command = Command::new("curl");
    command.args(["--silent", "--fail", "--data", &body]).arg(format!("http://{address}/client/auth"));
    let told: Value = serde_json::from_slice(&command.output().context("run curl")?.stdout)?;
    Ok(told.get("authToken").and_then(Value::as_str).context("a token")?.to_owned())
}

fn nginx(folder: &Path, files: &Path, address: SocketAddr) -> Result<Child> {
    fs::create_dir_all(folder)?;
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {}/{name};\n", folder.display()))
        .concat();
    let configuration = format!(
        "daemon off; worker_processes 1; pid {0}/pid; error_log {0}/error.log crit;\n\
         events {{ worker_connections 8192; }}\n\
         http {{ access_log off; keepalive_requests 100000000; sendfile off; open_file_cache max=10; default_type application/json;\n\
         {temporary}\nserver {{ listen {address} backlog=4096; root {1}; }} }}\n",
        folder.display(),
        files.display()
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration).context("configure nginx")?;
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "0", "nginx", "-p"]).arg(folder).arg("-c").arg(file);
    Child::spawn("nginx", &mut command, None)
}

/// A port that nobody uses, and that is given to no connection by itself.
fn free() -> Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + u16::try_from(std::process::id() % 10_000)?;
    for _ in 0..1000 {
        let address = SocketAddr::from(([127, 0, 0, 1], first + NEXT.fetch_add(1, Ordering::Relaxed)));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no port is free")
}

#[expect(clippy::cast_precision_loss, reason = "a size of memory")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
