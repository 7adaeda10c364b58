//! How long every daemon takes from its start until it tells systemd that it is ready.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{facts, pages};
use crate::{bench::free_address, child::Child, command, stop::Stop};

/// How long one may take before it counts as not coming up.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long between two looks at whether it ended, or we shall.
const LOOK: Duration = Duration::from_millis(500);

/// How long every daemon takes from its start until it is ready. Writes docs/BENCHMARKS.md.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each is started.
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u32).range(1..=1000))]
    times: u32,
    /// The folder of the binaries; left out, what `cargo xtask dist` built.
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// A daemon with the least that it must be told, and with nothing kept from before.
struct Subject {
    name: &'static str,
    settings: &'static [(&'static str, &'static str)],
    /// What it talks to is started before it.
    after: Option<&'static str>,
}

const SUBJECTS: [Subject; 6] = [
    Subject {
        name: "goproxy",
        settings: &[
            ("PROXY_TYPE", "reverse"),
            ("PROXY_IN_PORT", "0"),
            ("REVERSE_PROXY_HOST", "127.0.0.1"),
            ("REVERSE_PROXY_PORT", "9"),
            ("APP_LABEL", "a"),
            ("APP_POD_NAME", "b"),
            ("FORWARDER_ADDR", "127.0.0.1:9"),
            ("HEALTH_ADDR", "127.0.0.1:0"),
        ],
        after: None,
    },
    Subject {
        name: "forwarder",
        settings: &[("SERVICE_PORT", "0"), ("ANALYZER_ADDR", "127.0.0.1:0")],
        after: None,
    },
    Subject {
        name: "agent-relay",
        settings: &[("LISTEN_PORT", "0"), ("STATS_ADDR", "127.0.0.1:0"), ("DD_URL", "http://127.0.0.1:9")],
        after: None,
    },
    Subject {
        name: "flag-relay",
        settings: &[("OFFLINE", "true"), ("PORT", "0"), ("STATUS_ADDR", "127.0.0.1:0")],
        after: None,
    },
    Subject { name: "lw_proxy", settings: &[("PROXY_PORT", "0")], after: None },
    Subject {
        name: "lw_tcp_proxy",
        settings: &[
            ("HTTP_LISTEN", "127.0.0.1:0"),
            ("HTTPS_LISTEN", "127.0.0.1:0"),
            ("ADMIN_ADDR", "127.0.0.1:0"),
        ],
        after: Some("lw_proxy"),
    },
];

pub(crate) fn run(args: &Args) -> Result<()> {
    let binaries = match &args.folder {
        Some(folder) => folder.clone(),
        None => command::target()?.join("dist/bin"),
    };
    for subject in &SUBJECTS {
        if !binaries.join(subject.name).is_file() {
            bail!("{} is not in {}; cargo xtask dist builds it", subject.name, binaries.display());
        }
    }
    let stop = Stop::on_signals()?;
    let mut took = SUBJECTS.each_ref().map(|_| Vec::new());
    for _ in 0..args.times {
        for (subject, took) in SUBJECTS.iter().zip(&mut took) {
            let one = subject.start(&binaries, &stop).with_context(|| subject.name.to_owned())?;
            took.push(one);
        }
    }
    let page = page(args.times, took);
    println!("{page}");
    pages::write(&command::root().join("docs/BENCHMARKS.md"), "bench start", &page)
}

fn page(times: u32, took: [Vec<Duration>; SUBJECTS.len()]) -> String {
    let mut page = format!(
        "## Start to ready\n\n{}, {}.\nRepeat with `cargo xtask dist` and `cargo xtask bench start`: {times} starts \
         of each shipped binary in turn, with empty state, to its `READY=1`.\n\n\
         | | Median | Slowest |\n|---|--:|--:|\n",
        facts::today(),
        facts::machine(),
    );
    for (subject, mut took) in SUBJECTS.iter().zip(took) {
        took.sort();
        let milliseconds = |at: Option<&Duration>| at.map_or(f64::NAN, |at| at.as_secs_f64() * 1e3);
        let (median, slowest) = (milliseconds(took.get(took.len() / 2)), milliseconds(took.last()));
        page += &format!("| {} | {median:.1} ms | {slowest:.1} ms |\n", subject.name);
    }
    page
}

impl Subject {
    /// Starts it once, with what it talks to, and says how long that took.
    fn start(&self, binaries: &Path, stop: &Stop) -> Result<Duration> {
        let folder = tempfile::tempdir().context("make a folder")?;
        prepare(folder.path())?;
        let before = SUBJECTS.iter().find(|subject| Some(subject.name) == self.after);
        let _before = before.map(|before| before.up(binaries, folder.path(), stop)).transpose()?;
        self.up(binaries, folder.path(), stop).map(|(took, _)| took)
    }

    /// Starts it, and waits until it is ready. It stops when the child is dropped.
    fn up(&self, binaries: &Path, folder: &Path, stop: &Stop) -> Result<(Duration, Child)> {
        let notify = folder.join(format!("{}.notify", self.name));
        let told = UnixDatagram::bind(&notify).context("listen as systemd does")?;
        told.set_read_timeout(Some(LOOK)).context("set a timeout")?;
        let mut command = Command::new(binaries.join(self.name));
        command.env_clear().arg("--config").arg(folder.join(match self.name {
            "lw_proxy" | "lw_tcp_proxy" => "config.toml",
            _ => "empty.toml",
        }));
        command.envs(self.settings.iter().copied()).env("NOTIFY_SOCKET", &notify);
        if !self.name.starts_with("lw_") {
            command.env("DATA_DIR", folder.join("data"));
        }
        if self.name == "flag-relay" {
            command.env("CONFIG_DIR", folder.join("flags"));
        }
        let begun = Instant::now();
        let mut child = Child::spawn(self.name, &mut command, None)?;
        let mut buffer = [0; 4096];
        loop {
            if let Ok(length) = told.recv(&mut buffer) {
                let words = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
                if words.lines().any(|line| line == "READY=1") {
                    return Ok((begun.elapsed(), child));
                }
            }
            child.check_alive()?;
            if stop.asked() || begun.elapsed() > PATIENCE {
                bail!("it is not ready after {:?}\n{}", begun.elapsed(), child.last_words());
            }
        }
    }
}

/// What the daemons read.
fn prepare(folder: &Path) -> Result<()> {
    let path = folder.display();
    let autostop = format!(
        "accountID = \"acme\"\nusageTrackingPort = {}\nrulesDir = \"{path}/rules.d\"\nstateDir = \"{path}/state\"\n",
        free_address()?.port(),
    );
    let environment = "keys: [my-sdk-key]\nflags: { dark-mode: { default: true } }\n";
    fs::create_dir(folder.join("rules.d"))?;
    fs::create_dir(folder.join("flags"))?;
    fs::write(folder.join("flags/production.yaml"), environment)?;
    fs::write(folder.join("config.toml"), autostop)?;
    fs::write(folder.join("empty.toml"), "")?;
    Ok(())
}
