//! A Redis server of our own: started, emptied, cut off, killed.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{peer::free_port, wait::wait_for};

/// A running server. Dropped, it is killed.
pub struct Redis {
    /// Where it is.
    pub port: u16,
    child: Option<Child>,
    folder: PathBuf,
    more: Vec<String>,
    before: Vec<String>,
}

impl Redis {
    /// Starts one that keeps nothing, on a free port.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(folder: &Path) -> Self {
        Self::start_with(folder, &["--save", "", "--appendonly", "no"], &[])
    }

    /// Starts one with these settings; `before` is what `redis-cli` must be told to reach it.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_with(folder: &Path, more: &[&str], before: &[&str]) -> Self {
        let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        fs::create_dir_all(folder).expect("a folder");
        let begin = || {
            let (port, more) = (free_port(), text(more));
            let mut redis = Self { port, child: None, folder: folder.to_owned(), more, before: text(before) };
            // Nodes of a cluster talk through another port, by itself one that anybody may have.
            if redis.more.iter().any(|word| word == "--cluster-enabled") {
                redis.more.extend(["--cluster-port".to_owned(), free_port().to_string()]);
            }
            redis.run().then_some(redis)
        };
        // Somebody may take a port that was free a moment ago.
        wait_for("Redis to have its ports", begin)
    }

    /// Starts it once more, at the same port.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn again(&mut self) {
        assert!(self.run(), "Redis ended at once, at port {}", self.port);
    }

    /// Whether it came up.
    fn run(&mut self) -> bool {
        let port = self.port.to_string();
        let child = Command::new("redis-server")
            .args(&self.more)
            .args(["--bind", "127.0.0.1", "--enable-debug-command", "yes", "--dir"])
            .arg(&self.folder)
            .args(if self.before.iter().any(|word| word == "--tls") {
                ["--port", "0", "--tls-port", &port]
            } else {
                ["--tls-port", "0", "--port", &port]
            })
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut child = child.expect("redis-server is there: `cargo xtask test` installs it");
        let is_up = wait_for("Redis", || {
            let has_ended = child.try_wait().expect("the child is ours").is_some();
            let is_up = || TcpStream::connect(("127.0.0.1", self.port)).is_ok();
            if has_ended { Some(false) } else { is_up().then_some(true) }
        });
        self.child = Some(child);
        is_up
    }

    /// What `REDIS_ADDRESS` must be.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What `redis-cli` prints.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn ask(&self, words: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(&self.before)
            .args(words)
            .stdin(Stdio::null())
            .output()
            .expect("redis-cli is there: `cargo xtask test` installs it");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Breaks every connection.
    pub fn cut(&self) {
        self.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    }

    /// Ends it with SIGKILL.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("the child is ours");
        child.wait().expect("the child is ours");
    }

    /// Stops it in its tracks, or lets it go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze(&self, is_frozen: bool) {
        let id = self.child.as_ref().expect("it runs").id();
        let signal = if is_frozen { Signal::SIGSTOP } else { Signal::SIGCONT };
        kill(Pid::from_raw(i32::try_from(id).expect("a process id")), signal).expect("the child is ours");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
