//! A daemon of ours as a process: started, watched, stopped, killed.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::wait::wait_for;

/// A running daemon. Dropped, it is killed; its log must not hold a warning that was not announced.
pub struct Daemon {
    name: String,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    announced: Vec<String>,
    ended: bool,
}

/// Where the binary of this name was built.
///
/// # Panics
/// When it was not.
pub fn binary(name: &str) -> PathBuf {
    let tests = env::current_exe().expect("the test knows itself");
    let found = tests.ancestors().skip(1).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("{name} is not built: run `cargo xtask test`, or `cargo build -p {name}` first")
    })
}

impl Daemon {
    /// Starts a binary with these variables, and none of the daemon's own from outside.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(name: &str, variables: &[(&str, &str)]) -> Self {
        Self::start_under(&[], name, variables)
    }

    /// Starts a binary by another program, which becomes the binary: `prlimit` for example.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_under(program: &[&str], name: &str, variables: &[(&str, &str)]) -> Self {
        let binary = binary(name);
        let mut words = program.iter().map(OsStr::new).chain([binary.as_os_str()]);
        let mut command = Command::new(words.next().expect("at least the binary"));
        command.args(words).env_clear().envs(variables.iter().copied()).arg("--config").arg("/dev/null");
        Self::watch(name, command)
    }

    /// Starts what is told, reading its stderr.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn watch(name: &str, mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let log = child.stderr.take().expect("stderr is piped");
        let sink = Arc::clone(&lines);
        thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                sink.lock().expect("no panic while locked").push(line);
            }
        });
        Self { name: name.to_owned(), child, lines, announced: Vec::new(), ended: false }
    }

    /// A warning or error that has this text is expected.
    pub fn announce(&mut self, text: &str) -> &mut Self {
        self.announced.push(text.to_owned());
        self
    }

    /// Everything it logged so far.
    ///
    /// # Panics
    /// When the reader panicked.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no panic while locked").clone()
    }

    /// Waits for a line with this text.
    ///
    /// # Panics
    /// When it does not come.
    pub fn wait_for_line(&self, text: &str) -> String {
        let found = || self.lines().into_iter().find(|line| line.contains(text));
        wait_for(format!("{text:?} in the log of {}, which is {:#?}", self.name, self.lines()), found)
    }

    /// Waits for a line with this text, and takes the port at the end of this field of it.
    ///
    /// # Panics
    /// When there is none.
    pub fn port(&self, text: &str, field: &str) -> u16 {
        let line: Value = serde_json::from_str(&self.wait_for_line(text)).expect("a log line is JSON");
        let told = line[field].as_str().expect("the field is text");
        told.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port at its end")
    }

    /// Its process.
    ///
    /// # Panics
    /// When the id is not one.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"))
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it is gone.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the process is there");
    }

    /// Ends it with SIGKILL.
    ///
    /// # Panics
    /// When it is gone.
    pub fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.wait();
    }

    /// Asks it to stop, and returns its exit code.
    ///
    /// # Panics
    /// When it is gone already or does not end.
    pub fn stop(mut self) -> i32 {
        self.signal(Signal::SIGTERM);
        self.wait().code().expect("it ended by itself")
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    pub fn wait(&mut self) -> ExitStatus {
        self.ended = true;
        let child = &mut self.child;
        wait_for(format!("the end of {}", self.name), || child.try_wait().expect("the child is ours"))
    }

    /// The most memory it ever had resident, and what it has now, in KiB.
    ///
    /// # Panics
    /// When it is gone.
    pub fn resident_kib(&self) -> (u64, u64) {
        let status = fs::read_to_string(Path::new("/proc").join(self.child.id().to_string()).join("status"));
        let status = status.expect("the process is there");
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).expect("the kernel tells");
            line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
        };
        (field("VmHWM:"), field("VmRSS:"))
    }

    fn unannounced(&self) -> Vec<String> {
        let loud = |line: &String| {
            ["\"WARN\"", "\"ERROR\"", "\"warn\"", "\"error\""].iter().any(|level| {
                line.contains(&format!("\"info\":{level}")) || line.contains(&format!("\"level\":{level}"))
            })
        };
        let quiet = |line: &String| self.announced.iter().any(|text| line.contains(text.as_str()));
        self.lines().into_iter().filter(|line| loud(line) && !quiet(line)).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !self.ended {
            self.child.kill().ok();
            self.child.wait().ok();
        }
        if thread::panicking() {
            eprintln_log(&self.name, &self.lines());
            return;
        }
        let loud = self.unannounced();
        assert!(loud.is_empty(), "{} warned of what was not announced: {loud:#?}", self.name);
    }
}

#[expect(clippy::print_stderr, reason = "a failed test shows the logs")]
fn eprintln_log(name: &str, lines: &[String]) {
    let start = lines.len().saturating_sub(40);
    eprintln!("--- the last lines of {name}\n{}", lines[start..].join("\n"));
}
