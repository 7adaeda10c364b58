//! A fleet of agents at its pace, and a backlog that is drained beside it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    DRAINED,
    agents::{Agents, Seen, Who},
    balance, mib, nginx, relay, wait, written,
};
use crate::{
    bench::free_address,
    bench::process::{cpu, peak_rss, reset_peak_rss, rss},
    child::Child,
    stop::Stop,
};

/// Agents that have the backlog. Those of the fleet are others: in its own lane, what is new waits for what is old.
const BEHIND: u32 = 1_000;
/// How much of an hour's backlog there is, so that the disk and the day suffice.
const OF_AN_HOUR: f64 = 1.0 / 60.0;
/// Before a rate is measured, everybody has spoken.
const SETTLED: Duration = Duration::from_secs(16);

/// How much of what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) agents: u32,
    pub(super) seconds: u64,
}

/// The backend, which writes down when what arrived.
struct Sink {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Sink {
    fn start(folder: &Path, stop: &Stop) -> Result<Self> {
        let address = free_address()?;
        fs::create_dir_all(folder)?;
        let down = folder.join("down");
        let location = format!(
            "location / {{ client_max_body_size 100m; if (-f {}) {{ return 503; }} access_log {} sent buffer=256k flush=1s; return 202; }}",
            down.display(),
            folder.join("arrived").display()
        );
        let format = "log_format sent '$msec $http_x_sent';";
        let mut child = nginx("sink", folder, address, &location, format)?;
        wait(&mut child, address, stop)?;
        Ok(Self { child, address, folder: folder.to_owned() })
    }

    fn be_down(&self, is_down: bool) -> Result<()> {
        let file = self.folder.join("down");
        if is_down {
            fs::write(file, "").context("have the sink go down")?;
        } else {
            fs::remove_file(file).context("have the sink come back")?;
        }
        Ok(())
    }

    /// What arrived with this mark: when, and how long after it was posted, in seconds.
    fn arrived(&self, mark: char) -> Result<Vec<(f64, f64)>> {
        let file = fs::File::open(self.folder.join("arrived")).context("read what arrived")?;
        let mut arrived = Vec::new();
        for line in BufReader::new(file).lines() {
            let line = line?;
            let told = line.split_once(' ').and_then(|(when, sent)| {
                let sent: f64 = sent.strip_prefix(mark)?.parse().ok()?;
                Some((when.parse::<f64>().ok()?, sent / 1000.0))
            });
            arrived.extend(told.map(|(when, sent)| (when, when - sent)));
        }
        Ok(arrived)
    }

    /// Waits until it has written down so many with this mark.
    fn wait_for(&self, mark: char, count: u64, stop: &Stop) -> Result<Vec<(f64, f64)>> {
        let mut arrived = Vec::new();
        stop.wait_for("what was delivered to be written down", Duration::from_secs(20), || {
            thread::sleep(Duration::from_millis(500));
            arrived = self.arrived(mark)?;
            Ok(arrived.len() as u64 >= count)
        })?;
        Ok(arrived)
    }
}

/// Runs it, and prints what was seen.
pub(super) fn run(size: Size, folder: &Path, stop: &Stop) -> Result<()> {
    let sink = Sink::start(&folder.join("sink"), stop)?;
    let (address, stats) = (free_address()?, free_address()?);
    let mut child = relay(folder, address, stats, sink.address)?;
    wait(&mut child, address, stop)?;
    let idle = rss(child.id())?;
    println!(
        "\n| | agents | POST/s | answer p50/p99 ms | lag p50/p99 s | cores | peak RSS MiB | written per byte of requests (of bodies) |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    live(size, &sink, &mut child, address, stats, stop)?;
    backlog(size, &sink, &mut child, address, stats, stop)?;
    println!("\nIdle, it takes {:.1} MiB.", mib(idle));
    child.stop();
    let mut sink = sink;
    sink.child.stop();
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn live(
    size: Size,
    sink: &Sink,
    child: &mut Child,
    address: SocketAddr,
    stats: SocketAddr,
    stop: &Stop,
) -> Result<()> {
    let fleet = Agents::start(address, Who { first: 1, count: size.agents, mark: 'l', at_once: None })?;
    pause(SETTLED, child, stop)?;
    let (before, begun) = (cpu(child.id())?, Instant::now());
    let accepted = || balance(stats, "accepted");
    let (first, wrote) = (accepted()?, written(child)?);
    pause(Duration::from_secs(size.seconds), child, stop)?;
    let took = begun.elapsed().as_secs_f64();
    let spent = cpu(child.id())?.saturating_sub(before).as_secs_f64();
    let came = accepted()? - first;
    let wrote = written(child)? - wrote;
    let open = connections(stats)?;
    let seen = fleet.stop()?;
    drained(child, stats, stop)?;
    ensure!(seen.failed == 0, "{} posts failed", seen.failed);
    let arrived = sink.wait_for('l', seen.accepted, stop)?;
    let share = came as f64 / seen.accepted as f64;
    println!(
        "| live | {} ({open} connections open, {} made) | {:.0} | {} | {} | {:.2} | {:.0} | {:.3} ({:.3}) |",
        size.agents,
        seen.connections,
        came as f64 / took,
        answers(&seen),
        lags(arrived.iter().map(|(_, lag)| *lag).collect()),
        spent / took,
        mib(peak_rss(child.id())?),
        wrote as f64 / (seen.request_bytes as f64 * share),
        wrote as f64 / (seen.body_bytes as f64 * share),
    );
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "far below 2^52"
)]
fn backlog(
    size: Size,
    sink: &Sink,
    child: &mut Child,
    address: SocketAddr,
    stats: SocketAddr,
    stop: &Stop,
) -> Result<()> {
    sink.be_down(true)?;
    let rate = f64::from(size.agents) * 0.3;
    let each = (rate * 3600.0 * OF_AN_HOUR / f64::from(BEHIND)) as u32;
    let behind =
        Agents::start(address, Who { first: 1 << 16, count: BEHIND, mark: 'b', at_once: Some(each) })?;
    let (before, wrote, begun) = (cpu(child.id())?, written(child)?, Instant::now());
    stop.wait_for("a backlog", DRAINED, || {
        child.check_alive()?;
        Ok(behind.are_done())
    })?;
    let took = begun.elapsed().as_secs_f64();
    let spent = cpu(child.id())?.saturating_sub(before).as_secs_f64();
    let wrote = written(child)? - wrote;
    let seen = behind.stop()?;
    ensure!(seen.failed == 0, "{} posts of the backlog failed", seen.failed);
    println!(
        "| backlog comes | {BEHIND} | {:.0} | {} | | {:.2} | {:.0} | {:.3} ({:.3}) |",
        seen.accepted as f64 / took,
        answers(&seen),
        spent / took,
        mib(peak_rss(child.id())?),
        wrote as f64 / seen.request_bytes as f64,
        wrote as f64 / seen.body_bytes as f64,
    );
    let queued = balance(stats, "queued")?;
    ensure!(queued > 0, "nothing waits: the sink was not down");
    reset_peak_rss(child.id())?;
    let fleet = Agents::start(address, Who { first: 1, count: size.agents, mark: 'd', at_once: None })?;
    sink.be_down(false)?;
    let delivered = || balance(stats, "delivered");
    let first = delivered()?;
    stop.wait_for("the first delivery", DRAINED, || Ok(delivered()? > first))?;
    let (before, begun) = (cpu(child.id())?, Instant::now());
    let up = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH)?.as_secs_f64();
    stop.wait_for("the backlog to be drained", DRAINED, || {
        child.check_alive()?;
        // What is on its way of the fleet.
        Ok(balance(stats, "queued")? < u64::from(BEHIND) / 10)
    })?;
    let took = begun.elapsed().as_secs_f64();
    let spent = cpu(child.id())?.saturating_sub(before).as_secs_f64();
    let live = fleet.stop()?;
    drained(child, stats, stop)?;
    ensure!(live.failed == 0, "{} posts failed", live.failed);
    let of_fleet = sink.wait_for('d', live.accepted, stop)?;
    let lag =
        of_fleet.iter().filter(|(when, lag)| when - lag >= up && *when <= up + took).map(|(_, lag)| *lag);
    let came = of_fleet.iter().filter(|(when, _)| *when >= up && *when <= up + took).count();
    let drained = sink.wait_for('b', seen.accepted, stop)?.iter().filter(|(when, _)| *when >= up).count();
    println!(
        "| backlog of {queued} drained in {took:.1} s: {:.0}/s, {:.1} times the rate of the fleet | {} | {:.0} | {} | {} | {:.2} | {:.0} | |",
        drained as f64 / took,
        drained as f64 / took / rate,
        size.agents,
        came as f64 / took,
        answers(&live),
        lags(lag.collect()),
        spent / took,
        mib(peak_rss(child.id())?),
    );
    println!(
        "\nThe backlog is {OF_AN_HOUR:.4} of an hour's of the fleet, of {BEHIND} other agents; the lag is of what the fleet posts meanwhile."
    );
    Ok(())
}

fn pause(length: Duration, child: &mut Child, stop: &Stop) -> Result<()> {
    let begun = Instant::now();
    stop.wait_for("time to pass", length * 2, || {
        child.check_alive()?;
        Ok(begun.elapsed() >= length)
    })
}

fn drained(child: &mut Child, stats: SocketAddr, stop: &Stop) -> Result<()> {
    stop.wait_for("an empty queue", DRAINED, || {
        child.check_alive()?;
        Ok(balance(stats, "queued")? == 0)
    })
}

fn connections(stats: SocketAddr) -> Result<u64> {
    let (_, text) = crate::http::get(stats, "/metrics")?;
    let open = text.lines().find_map(|line| line.strip_prefix("agent_relay_connections_open ")?.parse().ok());
    open.context("find how many connections are open")
}

fn answers(seen: &Seen) -> String {
    let mut took = seen.took.clone();
    took.sort_unstable();
    let at = |share: f64| percentile(&took, share).map_or(0.0, |took| f64::from(*took) / 1000.0);
    format!("{:.1}/{:.1}", at(0.5), at(0.99))
}

fn lags(mut lags: Vec<f64>) -> String {
    lags.sort_by(f64::total_cmp);
    let at = |share: f64| percentile(&lags, share).copied().unwrap_or_default();
    format!("{:.3}/{:.3}", at(0.5), at(0.99))
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a length"
)]
fn percentile<T>(sorted: &[T], share: f64) -> Option<&T> {
    sorted.get(((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::{lags, percentile};

    #[test]
    fn percentiles_are_of_what_is_sorted() {
        let numbers: Vec<u32> = (1..=100).collect();
        assert_eq!((percentile(&numbers, 0.5), percentile(&numbers, 0.99)), (Some(&51), Some(&100)));
        assert_eq!(percentile::<u32>(&[], 0.5), None);
        assert_eq!(lags(vec![0.003, 0.001, 0.002]), "0.002/0.003");
    }
}
