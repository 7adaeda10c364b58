//! flag-relay as a process, and unmodified SDKs that ask it.

pub mod drawn;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::Value;

use crate::{daemon::Daemon, peer::free_port, wait::wait_for};

/// The SDK key of every environment here.
pub const KEY: &str = "apikey1";
/// The id of the environment.
pub const ENVIRONMENT: &str = "71716f30-aea0-4271-89b5-cb1c82be4567";

/// A running flag-relay that serves a folder.
pub struct FlagRelay {
    /// Its process.
    pub daemon: Option<Daemon>,
    /// Where SDKs connect.
    pub port: u16,
    /// Where its status is.
    pub status: u16,
    folder: PathBuf,
    more: Vec<(String, String)>,
}

impl FlagRelay {
    /// Starts it on free ports; `folder` gets the folders `flags` and `data`.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(folder: &Path, flags: &str, more: &[(&str, &str)]) -> Self {
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut relay = Self { daemon: None, port: 0, status: 0, folder: folder.to_owned(), more };
        fs::create_dir_all(folder.join("flags")).expect("a folder");
        relay.write(flags);
        relay.again(free_port());
        relay
    }

    /// Starts it once more after it ended, with the same data, at this port.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn again(&mut self, port: u16) {
        let (flags, data) = (self.folder.join("flags"), self.folder.join("data"));
        let (flags, data) = (flags.to_string_lossy().into_owned(), data.to_string_lossy().into_owned());
        let port = port.to_string();
        let mut variables = vec![
            ("OFFLINE", "true"),
            ("CONFIG_DIR", flags.as_str()),
            ("DATA_DIR", data.as_str()),
            ("PORT", port.as_str()),
            ("STATUS_ADDR", "127.0.0.1:0"),
        ];
        variables.extend(self.more.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let daemon = Daemon::start("flag-relay", &variables);
        self.status = daemon.port("serving the status", "addr");
        self.port = daemon.port("listening for SDKs", "addr");
        self.daemon = Some(daemon);
    }

    /// Writes the file of the environment: with the name, the id and the key in front.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, flags: &str) {
        let text = format!("environment: {ENVIRONMENT}\nname: prod\nkeys: [{KEY}]\n{flags}");
        self.write_file("prod.yaml", &text);
    }

    /// Writes a file into the folder of flags, as whoever is careful does.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_file(&self, name: &str, text: &str) {
        let folder = self.folder.join("flags");
        let beside = folder.join(format!(".{}", name.replace('/', "-")));
        fs::write(&beside, text).expect("the file is written");
        fs::rename(beside, folder.join(name)).expect("the file is moved");
    }

    /// Where SDKs are pointed to.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends it, and says with which code.
    ///
    /// # Panics
    /// When it does not run.
    pub fn stop(&mut self) -> i32 {
        self.daemon.take().expect("it runs").stop()
    }
}

/// What the Python or the Node SDK finds for every flag and target.
///
/// # Panics
/// When it is not there or does not get through.
pub fn evaluate_with(kind: Kind, url: &str, targets: &Path, flags: &[String]) -> Vec<Value> {
    let flags = serde_json::to_string(flags).expect("texts are JSON");
    let (name, words) = match kind {
        Kind::Python => ("flag-sdks-python", ["-c", include_str!("flag/agree.py")].as_slice()),
        _ => ("flag-sdks-node", ["-e", include_str!("flag/agree.js"), "--"].as_slice()),
    };
    let output = Command::new(name)
        .args(words)
        .args([url, KEY])
        .arg(targets)
        .arg(flags)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{name} is not there ({error}): `cargo xtask test` installs it"));
    let text = String::from_utf8(output.stdout).expect("text");
    let (found, rest) = text.split_once("done").unwrap_or_else(|| panic!("it did not get through: {text}"));
    assert!(rest.trim().is_empty());
    found.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// A process that runs an SDK, and answers commands.
pub struct Sdk {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    name: &'static str,
}

/// Which SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `harness-featureflags` of PyPI.
    Python,
    /// `@harnessio/ff-nodejs-server-sdk` of npm.
    Node,
    /// `@harnessio/ff-javascript-client-sdk` of npm.
    Client,
    /// `@openfeature/ofrep-provider` of npm.
    Ofrep,
    /// `@openfeature/ofrep-web-provider` of npm.
    Web,
}

impl Kind {
    fn program(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Python => ("flag-sdks-python", "-c", include_str!("flag/python.py")),
            Self::Node => ("flag-sdks-node", "-e", include_str!("flag/node.js")),
            Self::Client => ("flag-sdks-node", "-e", include_str!("flag/client.js")),
            Self::Ofrep => ("flag-sdks-node", "-e", include_str!("flag/ofrep.js")),
            Self::Web => ("flag-sdks-node", "-e", include_str!("flag/web.js")),
        }
    }
}

impl Sdk {
    /// Starts one that asks this URL with this key.
    ///
    /// # Panics
    /// When it cannot be started: `cargo xtask test` installs it.
    pub fn start(kind: Kind, url: &str, key: &str, more: &[&str]) -> Self {
        let (name, flag, text) = kind.program();
        let mut command = Command::new(name);
        command.args([flag, text]);
        // Node takes what follows a dash for its own.
        if flag == "-e" {
            command.arg("--");
        }
        let child = command
            .args([url, key])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut child = child.unwrap_or_else(|error| {
            panic!("{name} is not there ({error}): `cargo xtask test` installs it and puts it on PATH")
        });
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Self { child, commands, answers, name }
    }

    /// Gives a command, and waits for the answer.
    ///
    /// # Panics
    /// When it does not answer with JSON.
    pub fn ask(&mut self, command: &str) -> Value {
        let commands = self.commands.as_mut().expect("it was not closed");
        writeln!(commands, "{command}").expect("it runs");
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.answers.read_line(&mut line).expect("it answers");
            assert!(read > 0, "{} ended at {command}", self.name);
            // The SDKs log to stdout as well.
            if let Ok(answer) = serde_json::from_str(&line) {
                return answer;
            }
        }
    }

    /// Waits until a command is answered so.
    ///
    /// # Panics
    /// When it is not.
    pub fn wait(&mut self, command: &str, expected: &Value) {
        let what = format!("{} to answer {command} with {expected}", self.name);
        wait_for(what, || (self.ask(command) == *expected).then_some(()));
    }
}

impl Drop for Sdk {
    fn drop(&mut self) {
        drop(self.commands.take());
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
