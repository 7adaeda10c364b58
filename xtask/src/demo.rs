//! Starts forwarder and goproxy before a service, until Ctrl-C.

mod sample;
mod traffic;

use std::{
    fs::{self, File},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{
    child::Child,
    command::{self, cargo},
    http,
    stop::Stop,
};

const FORWARDER_PORT: u16 = 8888;
const ANALYZER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8889);
const HEALTH: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4144);
const READY: Duration = Duration::from_secs(30);

/// Build and start forwarder and goproxy before a service, and say where to look; Ctrl-C ends it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Your own service; left out, a small sample service with some traffic.
    #[arg(long, value_name = "HOST:PORT")]
    upstream: Option<String>,
    /// Where goproxy listens for your clients.
    #[arg(long, value_name = "PORT", default_value_t = 4143, value_parser = clap::value_parser!(u16).range(1..))]
    listen: u16,
    /// Keep what is captured, and the logs, in this folder; left out, they are thrown away at the end.
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Build optimized binaries: a longer wait now, the real speed later.
    #[arg(long)]
    release: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let upstream = args.upstream.as_deref().map(host_and_port).transpose()?;
    ports_are_free(args.listen)?;
    let binaries = build(args.release)?;
    let stop = Stop::on_signals()?;

    let temporary = tempfile::tempdir().context("make a temporary folder")?;
    let data = args.data_dir.as_deref().unwrap_or(temporary.path());
    let data = std::path::absolute(data).context("find the data folder")?;
    fs::create_dir_all(&data).with_context(|| format!("make {}", data.display()))?;

    let mut children = vec![forwarder(&binaries, &data)?];
    await_ready(&stop, &mut children, ANALYZER)?;
    let is_sample = upstream.is_none();
    let (host, port) = match upstream {
        Some(upstream) => upstream,
        None => ("127.0.0.1".to_owned(), sample::start()?),
    };
    children.push(goproxy(&binaries, &data, args.listen, &host, port)?);
    await_ready(&stop, &mut children, HEALTH)?;
    if is_sample {
        traffic::start(SocketAddr::from((Ipv4Addr::LOCALHOST, args.listen)), stop.clone());
    }
    println!("{}", welcome(args, &shown(&host, port), &data));
    if TcpStream::connect((host.as_str(), port)).is_err() {
        println!("Nothing answers at {} yet: until it does, requests fail.", shown(&host, port));
    }

    while !stop.asked() {
        for child in &mut children {
            child.check_alive()?;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("\nStopping.");
    // goproxy first: it hands its last exchanges to the forwarder.
    while let Some(mut child) = children.pop() {
        child.stop();
    }
    Ok(())
}

fn build(release: bool) -> Result<PathBuf> {
    let profile = if release { "release" } else { "dev" };
    println!("Building forwarder and goproxy ({profile} profile). The first time takes minutes.");
    command::run(&mut cargo(["build", "--profile", profile, "-p", "forwarder", "-p", "goproxy"]))?;
    Ok(command::target()?.join(if release { "release" } else { "debug" }))
}

fn forwarder(binaries: &Path, data: &Path) -> Result<Child> {
    let mut command = Command::new(binaries.join("forwarder"));
    command
        .env("SERVICE_PORT", FORWARDER_PORT.to_string())
        .env("ANALYZER_ADDR", ANALYZER.to_string())
        .env("DATA_DIR", data.join("store"))
        .env("CLUSTER_NAME", "demo");
    Child::spawn("forwarder", &mut command, Some(log(data, "forwarder")?))
}

fn goproxy(binaries: &Path, data: &Path, listen: u16, host: &str, port: u16) -> Result<Child> {
    let mut command = Command::new(binaries.join("goproxy"));
    command
        .env("PROXY_TYPE", "reverse")
        .env("PROXY_IN_PORT", listen.to_string())
        .env("REVERSE_PROXY_HOST", host)
        .env("REVERSE_PROXY_PORT", port.to_string())
        .env("APP_LABEL", "demo")
        .env("APP_POD_NAME", "demo-1")
        .env("FORWARDER_ADDR", format!("127.0.0.1:{FORWARDER_PORT}"));
    Child::spawn("goproxy", &mut command, Some(log(data, "goproxy")?))
}

fn log(data: &Path, name: &str) -> Result<File> {
    let path = data.join(format!("{name}.log"));
    File::create(&path).with_context(|| format!("make {}", path.display()))
}

fn await_ready(stop: &Stop, children: &mut [Child], addr: SocketAddr) -> Result<()> {
    let name = children.last().map_or("nothing", |child| child.name);
    stop.wait_for(&format!("{name} ready on http://{addr}/readyz"), READY, || {
        for child in &mut *children {
            child.check_alive()?;
        }
        Ok(http::is_ok(addr, "/readyz"))
    })
}

fn ports_are_free(listen: u16) -> Result<()> {
    let ports = [
        (FORWARDER_PORT, "forwarder's gRPC"),
        (ANALYZER.port(), "the Analyzer"),
        (listen, "goproxy's clients (choose another with --listen)"),
        (HEALTH.port(), "goproxy's health"),
    ];
    for (port, what) in ports {
        ensure!(is_free(port), "port {port}, for {what}, is taken: stop what listens there and try again");
    }
    Ok(())
}

fn is_free(port: u16) -> bool {
    let dual = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    // A machine without IPv6 refuses the first for another reason than being taken.
    TcpListener::bind(dual).or_else(|_| TcpListener::bind(v4)).is_ok()
}

/// The opposite of [`host_and_port`].
fn shown(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Splits `host:port`, where a numeric IPv6 host stands in brackets.
fn host_and_port(upstream: &str) -> Result<(String, u16)> {
    let wanted = || format!("--upstream {upstream}: give host:port, like 127.0.0.1:8080");
    let (host, port) = upstream.rsplit_once(':').with_context(wanted)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ensure!(!host.is_empty() && !host.contains('/'), wanted());
    Ok((host.to_owned(), port.parse().with_context(wanted)?))
}

fn welcome(args: &Args, upstream: &str, data: &Path) -> String {
    let listen = args.listen;
    let next = match &args.upstream {
        Some(_) => format!(
            "Send your clients to port {listen} instead of {upstream}: they notice nothing, and you see"
        ),
        None => "The sample service gets some traffic. Send more, and you see".to_owned(),
    };
    let kept = if args.data_dir.is_some() {
        format!("Exchanges and logs stay in {}.", data.display())
    } else {
        format!("Logs are in {}; they and the exchanges are deleted at the end.", data.display())
    };
    format!(
        "
Analyzer  http://{ANALYZER}/
goproxy   http://127.0.0.1:{listen}/ in front of {upstream}

{next}
every request with its response in the Analyzer. To try it:
    curl http://127.0.0.1:{listen}/
{kept}
Ctrl-C stops everything."
    )
}

#[cfg(test)]
mod tests {
    use super::host_and_port;

    #[test]
    fn an_upstream_is_a_host_and_a_port() {
        let check = |upstream, expected: Option<(&str, u16)>| {
            let got = host_and_port(upstream).ok();
            assert_eq!(got.as_ref().map(|(host, port)| (host.as_str(), *port)), expected, "{upstream}");
        };
        check("127.0.0.1:8080", Some(("127.0.0.1", 8080)));
        check("shop.internal:80", Some(("shop.internal", 80)));
        check("[::1]:5000", Some(("::1", 5000)));
        check("8080", None);
        check(":8080", None);
        check("http://shop:80", None);
        check("shop:port", None);
        check("shop:99999", None);
    }
}
