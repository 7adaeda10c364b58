//! Takes up a changed token or certificate without a restart.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::ArgMatches;
use common::{
    config::{Error, Secret, Settings},
    daemon::Daemon,
    drain::Drain,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::{self, MissedTickBehavior},
};

use super::{Certificate, Config, Files, InStore};

/// How often the files are looked at. SIGHUP has them looked at, and read, at once.
const PERIOD: Duration = Duration::from_secs(1);

/// What may change while the daemon runs. Everything else wants a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// `authToken`.
    pub auth_token: Option<Secret>,
    /// Where the certificates are.
    pub files: Vec<Files>,
    /// The certificates; none in the data plane.
    pub certificates: Vec<Certificate>,
    /// Those that providers keep.
    pub in_store: Vec<InStore>,
}

/// Where the configuration came from, to read it again: the same flags and variables still go before the file.
#[derive(Clone)]
pub struct Source {
    daemon: &'static Daemon,
    matches: ArgMatches,
    resolve: fn(Settings) -> Result<Config, Error>,
}

impl Source {
    /// Of this daemon, started with this command line.
    pub fn new(
        daemon: &'static Daemon,
        matches: &ArgMatches,
        resolve: fn(Settings) -> Result<Config, Error>,
    ) -> Self {
        Self { daemon, matches: matches.clone(), resolve }
    }

    /// The configuration as it is now.
    ///
    /// # Errors
    /// With every problem at once.
    pub fn read(&self) -> Result<Config, Error> {
        (self.resolve)(self.daemon.settings(&self.matches)?)
    }

    fn path(&self) -> PathBuf {
        self.daemon.file(&self.matches)
    }
}

/// Follows what may change from what it was at the start, until the stop: the files are looked at every second,
/// and read once a change has settled, or on SIGHUP. A configuration that is no good leaves the old one in force
/// and is told once. So does one without a token when there was one: that is a file half written, or a mistake.
///
/// # Errors
/// When the signal cannot be listened to.
pub fn watch(source: Source, live: Live, drain: &Drain) -> std::io::Result<watch::Receiver<Arc<Live>>> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut follower = Follower::new(source, live);
    let receiver = follower.told.subscribe();
    let stop = drain.clone();
    drain.spawn(async move {
        let mut tick = time::interval(PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.started() => return,
                _ = tick.tick() => follower.look(),
                _ = hangup.recv() => follower.take_up(),
            }
        }
    });
    Ok(receiver)
}

/// What of a file changes when its content does.
type Stamp = Option<(u64, u64, i64, i64, u64)>;

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len()))
}

struct Follower {
    source: Source,
    told: watch::Sender<Arc<Live>>,
    /// What the files were like when they were last read.
    read: Vec<Stamp>,
    /// What they were like when they were last looked at: who still writes them is not done.
    seen: Vec<Stamp>,
    /// The problem that was told last, so that it is told once.
    problem: Option<String>,
}

impl Follower {
    fn new(source: Source, live: Live) -> Self {
        // The files may have changed since they were read for `live`, so they are read again at first.
        Self {
            source,
            told: watch::Sender::new(Arc::new(live)),
            read: Vec::new(),
            seen: Vec::new(),
            problem: None,
        }
    }

    fn stamps(&self) -> Vec<Stamp> {
        let live = self.told.borrow().clone();
        let files = live.files.iter().flat_map(|files| [files.cert.clone(), files.key.clone()]);
        std::iter::once(self.source.path()).chain(files).map(|path| stamp(&path)).collect()
    }

    fn look(&mut self) {
        let now = self.stamps();
        let settled = now == self.seen;
        if settled && now != self.read {
            self.take_up();
        }
        self.seen = now;
    }

    fn take_up(&mut self) {
        // Looked at before they are read: a change in between is seen next time.
        self.read = self.stamps();
        match self.next() {
            Ok(next) => {
                let changed = next != **self.told.borrow();
                if changed {
                    self.told.send_replace(Arc::new(next));
                    // Other certificate files may be named now.
                    self.read = self.stamps();
                    tracing::info!("configuration read again, token and certificates are in force");
                } else if self.problem.is_some() {
                    tracing::info!("configuration is good again");
                }
                self.problem = None;
            }
            Err(problem) => {
                if self.problem.as_ref() != Some(&problem) {
                    tracing::warn!(problem, "configuration cannot be used, the old one stays in force");
                }
                self.problem = Some(problem);
            }
        }
    }

    fn next(&self) -> Result<Live, String> {
        let next = self.source.read().map_err(|error| format!("{:#}", anyhow::Error::from(error)))?.live;
        if self.told.borrow().auth_token.is_some() && next.auth_token.is_none() {
            return Err("authToken is gone: restart to run without one".to_owned());
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests;
