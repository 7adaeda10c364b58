//! Load on one address: wrk for many requests, a client of our own for one huge body.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{child::Child, http, stop::Stop};

/// The name that every request gives the service: some tell services apart by it.
pub(crate) const HOST: &str = "bench.example.com";
/// How long wrk may take beyond what it was told.
const SPARE: Duration = Duration::from_secs(20);
const IDLE: Duration = Duration::from_secs(30);

/// What a client saw.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
    /// Half of the answers came within this, in µs; unknown for a single one.
    pub(crate) p50: Option<f64>,
    /// All but one in a hundred came within this, in µs.
    pub(crate) p99: Option<f64>,
}

/// How wrk is to ask.
#[derive(Clone, Copy)]
pub(crate) struct Wrk {
    pub(crate) path: &'static str,
    pub(crate) connections: u32,
    pub(crate) new_connection_each: bool,
}

impl Wrk {
    /// An error if a single request failed.
    pub(crate) fn run(self, addr: SocketAddr, length: Duration, folder: &Path, stop: &Stop) -> Result<Seen> {
        let printed = folder.join("wrk.txt");
        let mut wrk = Command::new("wrk");
        wrk.args(["--latency", "--threads", "1", "--timeout", "10s"])
            .args(["--connections", &self.connections.to_string()])
            .args(["--duration", &format!("{}s", length.as_secs())]);
        wrk.args(["--header", &format!("Host: {HOST}")]);
        if self.new_connection_each {
            wrk.args(["--header", "Connection: close"]);
        }
        wrk.arg(format!("http://{addr}{}", self.path));
        wrk.stdout(File::create(&printed).context("make a file for wrk's output")?);
        let mut child = Child::spawn("wrk", &mut wrk, None)?;
        stop.wait_for("wrk", length + SPARE, || Ok(child.ended()?.is_some()))?;
        let text = fs::read_to_string(&printed).context("read wrk's output")?;
        parse(&text).with_context(|| format!("wrk said:\n{text}{}", child.last_words()))
    }
}

/// What wrk printed; an error if a single request failed.
pub(super) fn parse(text: &str) -> Result<Seen> {
    let trouble = text.lines().find(|line| line.contains("Socket errors") || line.contains("Non-2xx"));
    if let Some(trouble) = trouble {
        bail!("requests failed: {}", trouble.trim());
    }
    let value = |prefix: &str| text.lines().find_map(|line| line.trim().strip_prefix(prefix)).map(str::trim);
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "));
    let requests: u64 = requests.context("a count of requests")?.0.parse()?;
    ensure!(requests > 0, "no request was answered");
    Ok(Seen {
        requests,
        per_second: value("Requests/sec:").context("a rate")?.parse()?,
        p50: Some(value("50%").and_then(microseconds).context("a p50")?),
        p99: Some(value("99%").and_then(microseconds).context("a p99")?),
    })
}

fn microseconds(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 6e7)];
    let (number, factor) =
        units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    Some(number.parse::<f64>().ok()? * factor)
}

/// Reads one body to its end and throws it away; `per_second` is then bodies per second.
pub(crate) fn one_body(addr: SocketAddr, path: &str, length: u64, stop: &Stop) -> Result<Seen> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(addr).context("connect")?;
    stream.set_read_timeout(Some(IDLE))?;
    stream.write_all(http::request(HOST, path).as_bytes())?;
    let mut buffer = vec![0; 256 * 1024];
    let mut total = 0;
    loop {
        let read = stream.read(&mut buffer).context("read the body")?;
        if read == 0 {
            break;
        }
        total += read as u64;
        ensure!(!stop.asked(), "stopped");
    }
    // The head is a few hundred bytes.
    ensure!(total > length && total < length + 4096, "{total} bytes came instead of {length} and a head");
    Ok(Seen { requests: 1, per_second: 1.0 / start.elapsed().as_secs_f64(), p50: None, p99: None })
}

#[cfg(test)]
mod tests {
    use super::{Seen, microseconds, parse};

    const GOOD: &str = "Running 1s test @ http://127.0.0.1:1/\n  Latency Distribution\n     50%   43.00us\n\
                        \x20    99%    1.41ms\n  20345 requests in 1.00s, 16.24MB read\nRequests/sec:  20344.30\n";

    #[test]
    fn what_wrk_prints_is_read() {
        let seen = Seen { requests: 20345, per_second: 20344.3, p50: Some(43.0), p99: Some(1410.0) };
        assert_eq!(parse(GOOD).unwrap(), seen);
        assert!(parse(&format!("{GOOD}  Non-2xx or 3xx responses: 3\n")).is_err());
        assert!(parse(&format!("{GOOD}  Socket errors: connect 0, read 1, write 0, timeout 0\n")).is_err());
        assert!(parse("unable to connect").is_err());
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(microseconds("2.50s"), Some(2_500_000.0));
        assert_eq!(microseconds("1.00m"), Some(60_000_000.0));
        assert_eq!(microseconds("fast"), None);
    }
}
