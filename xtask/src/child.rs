//! A program that runs beside us, and that never outlives us.

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    process::{self, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

/// How many of its last lines are kept to explain an early end.
const LAST_LINES: usize = 20;
/// How long it may take to stop once asked; the daemons' own grace period is shorter.
const GRACE: Duration = Duration::from_secs(15);

/// A child in a process group of its own, so that Ctrl-C reaches it through us and only once.
/// Dropping it stops it: asked with SIGTERM, then the whole group is killed.
pub(crate) struct Child {
    pub(crate) name: &'static str,
    process: process::Child,
    last: Arc<Mutex<VecDeque<String>>>,
    reader: Option<JoinHandle<()>>,
    ended: Option<ExitStatus>,
}

impl Child {
    /// Starts it; what it says on stderr goes to `log` as well, if there is one.
    pub(crate) fn spawn(name: &'static str, command: &mut Command, log: Option<File>) -> Result<Self> {
        let piped = command.process_group(0).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut process = piped.spawn().with_context(|| format!("start {name}"))?;
        let last = Arc::new(Mutex::new(VecDeque::new()));
        let reader = process.stderr.take().map(|stderr| {
            let last = last.clone();
            thread::spawn(move || keep_last(BufReader::new(stderr), log, &last))
        });
        Ok(Self { name, process, last, reader, ended: None })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// An error, with its last words, when it has ended although nobody asked it to.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        if let Some(status) = self.ended()? {
            let said = self.last_words();
            bail!("{} ended early with {status}\n{said}", self.name);
        }
        Ok(())
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.process.try_wait().with_context(|| format!("look after {}", self.name))?;
        }
        Ok(self.ended)
    }

    /// Its last lines on stderr, indented; complete once it has ended.
    pub(crate) fn last_words(&mut self) -> String {
        if let (Some(_), Some(reader)) = (self.ended, self.reader.take()) {
            drop(reader.join());
        }
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
    }

    /// Asks with SIGTERM without waiting, so that several can stop at once.
    pub(crate) fn ask(&mut self) {
        self.signal(Signal::SIGTERM);
    }

    /// Asks, waits, and kills what is left.
    pub(crate) fn stop(&mut self) {
        let start = Instant::now();
        self.ask();
        while start.elapsed() < GRACE && matches!(self.ended(), Ok(None)) {
            thread::sleep(Duration::from_millis(10));
        }
        if matches!(self.ended(), Ok(None)) {
            eprintln!("{} did not stop within {GRACE:?} and is killed", self.name);
            self.signal(Signal::SIGKILL);
            self.ended = self.process.wait().ok();
        }
    }

    /// To the whole group, as long as its leader was not waited for: its number is surely still its own.
    fn signal(&mut self, signal: Signal) {
        if let (Ok(None), Ok(group)) = (self.ended(), i32::try_from(self.process.id()))
            && let Err(error) = killpg(Pid::from_raw(group), signal)
        {
            eprintln!("{signal} to {}: {error}", self.name);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop();
    }
}

fn keep_last(stderr: impl BufRead, mut log: Option<File>, last: &Mutex<VecDeque<String>>) {
    for line in stderr.split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        if let Some(file) = &mut log
            && writeln!(file, "{line}").is_err()
        {
            log = None;
        }
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
}
