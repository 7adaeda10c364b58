//! Pure. What a `[providers.NAME]` table may say.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use common::config::nearest;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

/// One provider, as it was configured.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who it is.
    pub kind: Kind,
    /// How it is called.
    pub calls: Calls,
}

/// The kinds of provider, with what is particular to each.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Commands of the machine.
    Command(Command),
    /// Containers of a Docker engine.
    Docker(Docker),
    /// A child process that speaks the plug-in protocol.
    Plugin(Plugin),
    /// Units of a systemd.
    Systemd(Systemd),
    /// Machines that wake when a magic packet comes.
    WakeOnLan(WakeOnLan),
}

/// How a provider is called, whatever its kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Calls {
    /// How long one call may take, retries included.
    #[serde(deserialize_with = "span")]
    pub timeout: Duration,
    /// How long a question for the status waits for others to go with it.
    #[serde(deserialize_with = "span")]
    pub window: Duration,
    /// The budget of calls; 0 for no limit.
    pub calls_per_minute: u32,
    /// How many of them may go at once.
    pub burst: u32,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60),
            window: Duration::from_millis(20),
            calls_per_minute: 600,
            burst: 20,
        }
    }
}

/// `kind = "command"`: in each argument, `{id}` stands for the id and `{params.NAME}` for a parameter.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Starts one id.
    pub start: Vec<String>,
    /// Shuts one id down.
    pub stop: Vec<String>,
    /// Hibernates one id.
    #[serde(default)]
    pub hibernate: Vec<String>,
    /// Prints stopped, starting, running, stopping or missing.
    pub status: Vec<String>,
    /// Prints the addresses of one id.
    #[serde(default)]
    pub describe: Vec<String>,
    /// The address of every id; `{id}` stands for the id here too.
    #[serde(default)]
    pub address: Option<String>,
}

/// `kind = "docker"`: an id is the name or the id of a container.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Docker {
    /// Where the engine listens.
    pub socket: PathBuf,
    /// Where a container is reached.
    pub address: DockerAddress,
    /// How long a container may take to end before it is killed.
    #[serde(deserialize_with = "span")]
    pub stop_timeout: Duration,
}

impl Default for Docker {
    fn default() -> Self {
        Self {
            socket: "/var/run/docker.sock".into(),
            address: DockerAddress::Container,
            stop_timeout: Duration::from_secs(10),
        }
    }
}

/// Which of a container's addresses is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DockerAddress {
    /// Its own, as the machine that runs the engine sees it.
    Container,
    /// The port that it is published on.
    Published,
}

/// `kind = "systemd"`: an id is the name of a unit.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Systemd {
    /// The D-Bus address of the bus that systemd is on; without it, the system bus.
    pub bus: Option<String>,
    /// Where the units are reached; without it, on loopback.
    pub address: Option<String>,
}

/// `kind = "wake-on-lan"`: an id is one of `hosts`, or a MAC address.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WakeOnLan {
    /// Where magic packets go.
    #[serde(default = "broadcast")]
    pub broadcast: SocketAddr,
    /// The port that tells whether a host is up, unless the host has its own.
    #[serde(default = "ssh")]
    pub port: u16,
    /// Shuts a host down; `{id}` and `{address}` are replaced.
    #[serde(default)]
    pub stop: Vec<String>,
    /// Hibernates a host.
    #[serde(default)]
    pub hibernate: Vec<String>,
    /// The hosts, by id.
    #[serde(default)]
    pub hosts: BTreeMap<String, Host>,
}

/// A host that wakes by a magic packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Its MAC address.
    pub mac: String,
    /// Its name or IP address.
    pub address: String,
    /// The port that tells whether it is up.
    #[serde(default)]
    pub port: Option<u16>,
}

fn broadcast() -> SocketAddr {
    SocketAddr::from(([255, 255, 255, 255], 9))
}

fn ssh() -> u16 {
    22
}

/// `kind = "plugin"`: see docs/autostop-providers.md.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    /// What to run.
    pub command: Vec<String>,
    /// Variables of its environment, beside ours.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Passed to it as they are.
    #[serde(default)]
    pub options: toml::Table,
}

fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text)
        .map_err(|_| serde::de::Error::custom("use a length of time such as 45s, 5m or 500ms"))
}

const CALLS: [&str; 4] = ["timeout", "window", "calls_per_minute", "burst"];
const KINDS: [&str; 5] = ["command", "docker", "plugin", "systemd", "wake-on-lan"];

impl Options {
    /// Understands the table of this name; or tells everything that is wrong with it.
    ///
    /// # Errors
    /// With every problem, each with its key and its mend.
    pub fn read(name: &str, value: toml::Value) -> Result<Self, Vec<String>> {
        let place = format!("providers.{name}");
        let toml::Value::Table(mut own) = value else {
            return Err(vec![format!("{place} must be a table: [{place}]")]);
        };
        let kind = own.remove("kind");
        let calls = CALLS.into_iter().filter_map(|key| own.remove_entry(key)).collect();
        let mut problems = Vec::new();
        let calls: Option<Calls> = part(&place, &CALLS, calls, &mut problems);
        let kind = match kind.as_ref().and_then(toml::Value::as_str) {
            Some("command") => {
                const KEYS: [&str; 6] = ["start", "stop", "hibernate", "status", "describe", "address"];
                part(&place, &KEYS, own, &mut problems).map(Kind::Command)
            }
            Some("docker") => {
                part(&place, &["socket", "address", "stop_timeout"], own, &mut problems).map(Kind::Docker)
            }
            Some("plugin") => {
                part(&place, &["command", "env", "options"], own, &mut problems).map(Kind::Plugin)
            }
            Some("systemd") => part(&place, &["bus", "address"], own, &mut problems).map(Kind::Systemd),
            Some("wake-on-lan") => {
                const KEYS: [&str; 5] = ["broadcast", "port", "stop", "hibernate", "hosts"];
                part(&place, &KEYS, own, &mut problems).map(Kind::WakeOnLan)
            }
            told => {
                let told = told.map_or("is not told".to_owned(), |told| format!("is {told:?}"));
                problems.push(format!("{place}.kind {told}: use {}", KINDS.join(", ")));
                None
            }
        };
        if let Some(kind) = &kind {
            kind.check(&place, &mut problems);
        }
        if let (Some(Kind::Docker(docker)), Some(calls)) = (&kind, &calls)
            && docker.stop_timeout >= calls.timeout
        {
            problems.push(format!("{place}.stop_timeout: use less than the timeout of the whole call"));
        }
        match (kind, calls) {
            (Some(kind), Some(calls)) if problems.is_empty() => Ok(Self { kind, calls }),
            _ => Err(problems),
        }
    }
}

/// One typed part of a table; what is unknown is told key by key.
fn part<T: DeserializeOwned>(
    place: &str,
    known: &[&'static str],
    table: toml::Table,
    problems: &mut Vec<String>,
) -> Option<T> {
    let before = problems.len();
    for key in table.keys().filter(|key| !known.contains(&key.as_str())) {
        let near = nearest(key, known.iter().chain(&CALLS).copied())
            .map(|near| format!("; did you mean {near}?"))
            .unwrap_or_default();
        problems.push(format!("{place}.{key} is not a setting of this kind{near}"));
    }
    let known = table.into_iter().filter(|(key, _)| known.contains(&key.as_str())).collect();
    match toml::Value::Table(known).try_into() {
        Ok(part) if problems.len() == before => Some(part),
        Ok(_) => None,
        Err(error) => {
            let told = error.to_string();
            problems.push(format!("{place}: {}", told.trim().replace('\n', " ")));
            None
        }
    }
}

impl Kind {
    /// What the types cannot tell.
    fn check(&self, place: &str, problems: &mut Vec<String>) {
        let mut argv = |key: &str, argv: &[String]| {
            if argv.first().is_none_or(String::is_empty) {
                problems.push(format!(
                    "{place}.{key} is empty: use a command, such as [\"virsh\", \"start\", \"{{id}}\"]"
                ));
            }
        };
        match self {
            Self::Command(command) => {
                argv("start", &command.start);
                argv("stop", &command.stop);
                argv("status", &command.status);
            }
            Self::Plugin(plugin) => argv("command", &plugin.command),
            Self::WakeOnLan(options) => {
                for (id, host) in &options.hosts {
                    if super::wake_on_lan::mac(&host.mac).is_none() {
                        problems.push(format!(
                            "{place}.hosts.{id}.mac is {:?}: use six bytes such as 52:54:00:12:34:56",
                            host.mac
                        ));
                    }
                }
            }
            Self::Docker(_) | Self::Systemd(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
