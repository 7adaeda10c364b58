//! The one way that every daemon starts and ends: flags in, exit code out.

mod ask;
mod generate;

use std::{future::Future, net::SocketAddr, path::PathBuf, process::ExitCode, thread, time::Duration};

use clap::{Arg, ArgAction, ArgMatches, Command, parser::ValueSource};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

use crate::{
    config::{self, Setting, Settings},
    drain::Drain,
    listen, notify,
    telemetry::{self, Layout},
};

/// Exit code of a configuration that cannot be used (`EX_CONFIG` of sysexits.h).
pub const BAD_CONFIGURATION: u8 = 78;

/// The settings that every daemon has.
pub static SETTINGS: [Setting; 2] = [
    Setting {
        key: "log_level",
        value: "LEVEL",
        help: "What is logged: error, warn, info, debug or trace",
        default: Some("info"),
    },
    Setting {
        key: "grace_period",
        value: "TIME",
        help: "How long a stop waits for what is open",
        default: Some("8s"),
    },
];

/// What is fixed about one daemon.
pub struct Daemon {
    /// The name of its binary.
    pub name: &'static str,
    /// What it does, one sentence without the period.
    pub about: &'static str,
    /// Its own settings, beside [`SETTINGS`].
    pub settings: &'static [Setting],
    /// How its log lines look as JSON.
    pub layout: Layout,
    /// Threads of its runtime, unless there are fewer processors.
    pub threads: usize,
}

/// A checked configuration, as far as daemon life is concerned.
pub trait Configured {
    /// Where `--health` asks the running daemon for `/readyz`.
    fn health(&self) -> SocketAddr;
}

/// The version of the workspace.
pub const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// When the source was made, as the reference writes it: `2020-12-01_06:37:32PM`.
pub fn build_time() -> String {
    let seconds = env!("WAYSIDE_SOURCE_DATE").parse().unwrap_or_default();
    jiff::Timestamp::from_second(seconds)
        .map(|time| time.strftime("%Y-%m-%d_%I:%M:%S%p").to_string())
        .unwrap_or_default()
}

impl Daemon {
    /// Its command line.
    pub fn command(&self) -> Command {
        let command = Command::new(self.name)
            .about(self.about)
            .version(VERSION)
            .arg(
                Arg::new("config")
                    .long("config")
                    .value_name("FILE")
                    .value_parser(clap::value_parser!(PathBuf))
                    .help(format!("Configuration file; without it /etc/wayside/{}.toml if it exists", self.name)),
            )
            .arg(
                Arg::new("check")
                    .long("check")
                    .action(ArgAction::SetTrue)
                    .help("Say whether the configuration is good, and exit"),
            )
            .arg(
                Arg::new("health")
                    .long("health")
                    .action(ArgAction::SetTrue)
                    .help("Ask the running daemon whether it is ready, and exit"),
            )
            .arg(generate::flag())
            .after_help("Every flag is also an environment variable in capitals (--log-level: LOG_LEVEL) and a key of the file (log_level). A flag goes before a variable before the file.");
        config::with_settings(command, self.settings.iter().chain(&SETTINGS))
    }

    /// What was typed, for a command line that begins with [`Daemon::command`]. The exit code when that is done.
    ///
    /// # Errors
    /// When nothing is left to do.
    pub fn matches(&self, command: Command) -> Result<ArgMatches, ExitCode> {
        let matches = command.clone().get_matches();
        match generate::asked(&matches) {
            Some(kind) => Err(self.generate(kind, &command)),
            None => Ok(matches),
        }
    }

    /// Runs it: reads the configuration, serves until a signal or an end of its own, drains.
    ///
    /// 0: ended in good order. 1: failed, or something open was cut. 2: bad flags.
    /// 78: bad configuration.
    pub fn run<C: Configured, S: Future<Output = anyhow::Result<()>>>(
        &self,
        matches: &ArgMatches,
        resolve: impl FnOnce(Settings) -> Result<C, config::Error>,
        serve: impl FnOnce(C, Drain) -> S,
    ) -> ExitCode {
        let (config, level, grace) = match self.load(matches, resolve) {
            Ok(loaded) => loaded,
            Err(error) => {
                say(&format!(
                    "{}: the configuration cannot be used: {:#}",
                    self.name,
                    anyhow::Error::from(error)
                ));
                return ExitCode::from(BAD_CONFIGURATION);
            }
        };
        if matches.get_flag("check") {
            say(&format!("{}: the configuration is good", self.name));
            return ExitCode::SUCCESS;
        }
        if matches.get_flag("health") {
            return match ask::ready(config.health()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(reason) => {
                    say(&format!("{}: {reason}", self.name));
                    ExitCode::FAILURE
                }
            };
        }
        telemetry::init(level, self.layout);
        // Two that share a processor wait for each other's slices.
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(self.threads.min(processors))
            .thread_name(self.name)
            .enable_all()
            .build();
        let ended = runtime.map_err(Into::into).and_then(|runtime| life(runtime, config, grace, serve));
        match ended {
            Ok(0) => ExitCode::SUCCESS,
            Ok(cut) => {
                tracing::warn!(cut, "the grace period was over: what was still open was cut");
                ExitCode::FAILURE
            }
            Err(error) => {
                tracing::error!("{error:#}");
                ExitCode::FAILURE
            }
        }
    }

    fn load<C>(
        &self,
        matches: &ArgMatches,
        resolve: impl FnOnce(Settings) -> Result<C, config::Error>,
    ) -> Result<(C, tracing::Level, Duration), config::Error> {
        let mut settings = self.settings(matches)?;
        let level = match settings.optional("log_level").map(str::parse) {
            Some(Ok(level)) => level,
            _ => {
                settings.refuse("log_level", "use error, warn, info, debug or trace");
                tracing::Level::INFO
            }
        };
        let grace = settings.duration("grace_period");
        Ok((resolve(settings)?, level, grace))
    }

    /// The settings as this command line, the environment and the file have them.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn settings(&self, matches: &ArgMatches) -> Result<Settings, config::Error> {
        let file = self.file(matches);
        let told = matches.value_source("config") == Some(ValueSource::CommandLine);
        Settings::read(self.settings_known(), matches, &file, told)
    }

    /// The configuration file that this command line means, whether it is there or not.
    pub fn file(&self, matches: &ArgMatches) -> PathBuf {
        let told = matches.get_one::<PathBuf>("config").cloned();
        told.unwrap_or_else(|| format!("/etc/wayside/{}.toml", self.name).into())
    }

    fn generate(&self, kind: generate::Kind, command: &Command) -> ExitCode {
        let settings: Vec<_> = self.settings_known().collect();
        match generate::generate(kind, command.clone(), &settings, &mut std::io::stdout().lock()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(&format!("{}: {error}", self.name));
                ExitCode::FAILURE
            }
        }
    }

    fn settings_known(&self) -> impl Iterator<Item = &'static Setting> {
        self.settings.iter().chain(&SETTINGS)
    }
}

#[expect(clippy::print_stderr, reason = "said before logging starts, or to someone at a terminal")]
fn say(line: &str) {
    eprintln!("{line}");
}

/// Everything that the settings name is listened on and served: says so to whoever started the daemon.
pub fn ready() {
    listen::give_up_leftovers();
    notify::tell(notify::READY);
}

/// Serves until the end; returns how much was cut on the way out.
fn life<C, S: Future<Output = anyhow::Result<()>>>(
    runtime: Runtime,
    config: C,
    grace: Duration,
    serve: impl FnOnce(C, Drain) -> S,
) -> anyhow::Result<u64> {
    let drain = Drain::default();
    let result = runtime.block_on(async {
        watch_signals(&drain)?;
        notify::keep_telling();
        let served = async {
            let result = serve(config, drain.clone()).await;
            drain.ask();
            drain.idle().await;
            result
        };
        tokio::select! {
            biased;
            result = served => result,
            () = deadline(&drain, grace) => Err(anyhow::anyhow!("did not end when it was insisted on")),
        }
    });
    // A lookup of a name may hang in a thread of its own; it must not hold up the end.
    runtime.shutdown_background();
    result.map(|()| drain.cut())
}

/// Returns when the stop has taken longer than it may.
async fn deadline(drain: &Drain, grace: Duration) {
    /// For what an insisted stop still has to write down.
    const LAST_WORDS: Duration = Duration::from_secs(3);
    drain.started().await;
    notify::tell(notify::STOPPING);
    tokio::select! {
        () = drain.insisted() => {}
        () = tokio::time::sleep(grace) => drain.insist(),
    }
    tokio::time::sleep(LAST_WORDS).await;
}

/// The first SIGTERM or SIGINT asks, the second insists.
fn watch_signals(drain: &Drain) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let drain = drain.clone();
    #[expect(clippy::disallowed_methods, reason = "the stop cannot wait for the task that starts it")]
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {
                    tracing::info!("what can be read again is read now; other settings wait for a restart");
                    continue;
                }
            }
            if drain.is_started() {
                drain.insist();
            } else {
                tracing::info!("stopping");
                drain.ask();
            }
        }
    });
    Ok(())
}
