//! Settings from flags, the environment, a TOML file and defaults, with every problem told at once.

use std::{collections::BTreeMap, fmt, fs, io, net::SocketAddr, path::Path, str::FromStr, time::Duration};

/// One setting: the flag `--proxy-in-port`, the variable `PROXY_IN_PORT` and the key `proxy_in_port`
/// in the file are the same thing.
#[derive(Debug)]
pub struct Setting {
    /// Its key in the file; the others follow from it.
    pub key: &'static str,
    /// What its value looks like, for the help text.
    pub value: &'static str,
    /// What it does, one sentence without the period.
    pub help: &'static str,
    /// What holds when it is not set. The only home of defaults.
    pub default: Option<&'static str>,
}

impl Setting {
    /// A setting with these parts, in the order of the fields.
    pub const fn new(
        key: &'static str,
        value: &'static str,
        help: &'static str,
        default: Option<&'static str>,
    ) -> Self {
        Self { key, value, help, default }
    }

    /// Its environment variable.
    pub fn variable(&self) -> String {
        self.key.to_uppercase()
    }

    /// Its flag, without the dashes.
    pub fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    fn argument(&self) -> clap::Arg {
        let help = match self.default {
            Some(default) => format!("{} [default: {default}]", self.help),
            None => self.help.to_owned(),
        };
        clap::Arg::new(self.key)
            .long(self.flag())
            .env(self.variable())
            .hide_env_values(true)
            .value_name(self.value)
            .help(help)
    }
}

/// Gives a command a flag for each of these settings.
pub fn with_settings<'a>(
    command: clap::Command,
    settings: impl IntoIterator<Item = &'a Setting>,
) -> clap::Command {
    settings.into_iter().fold(command, |command, setting| command.arg(setting.argument()))
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error("read {path}")]
    Read {
        /// Its path.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{path} is not TOML: {source}")]
    Syntax {
        /// Its path.
        path: String,
        /// Where and why.
        source: toml::de::Error,
    },
    /// Everything else that is wrong, all at once.
    #[error("{}", list(.0))]
    Problems(Vec<String>),
}

fn list(problems: &[String]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

struct Value {
    text: String,
    /// How the user knows it: `PROXY_IN_PORT` or `proxy_in_port in /etc/…`.
    name: String,
}

/// The settings of one start, read but not yet understood.
pub struct Settings {
    known: Vec<&'static Setting>,
    values: BTreeMap<&'static str, Value>,
    problems: Vec<String>,
    missing: bool,
}

impl Settings {
    /// Collects what was set: flags before variables before the file. A value that is empty counts
    /// as not set, as an env-file has them.
    ///
    /// # Errors
    /// When the file is there but cannot be read, is not TOML, or must be there and is not.
    pub fn read(
        known: impl IntoIterator<Item = &'static Setting>,
        matches: &clap::ArgMatches,
        file: &Path,
        file_must_exist: bool,
    ) -> Result<Self, Error> {
        let known: Vec<_> = known.into_iter().collect();
        let mut settings = Self { known, values: BTreeMap::new(), problems: Vec::new(), missing: false };
        settings.take_file(file, file_must_exist)?;
        for setting in settings.known.clone() {
            if let Some(text) = matches.get_one::<String>(setting.key).filter(|text| !text.is_empty()) {
                let name = match matches.value_source(setting.key) {
                    Some(clap::parser::ValueSource::EnvVariable) => setting.variable(),
                    _ => format!("--{}", setting.flag()),
                };
                settings.values.insert(setting.key, Value { text: text.clone(), name });
            }
        }
        Ok(settings)
    }

    fn take_file(&mut self, file: &Path, must_exist: bool) -> Result<(), Error> {
        let path = file.display().to_string();
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => return Ok(()),
            Err(source) => return Err(Error::Read { path, source }),
        };
        let table: toml::Table =
            toml::from_str(&text).map_err(|source| Error::Syntax { path: path.clone(), source })?;
        for (key, value) in table {
            let Some(setting) = self.known.iter().find(|setting| setting.key == key) else {
                let near =
                    self.nearest(&key).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                self.problems.push(format!("{key} in {path} is not a setting{near}"));
                continue;
            };
            let name = format!("{key} in {path}");
            match value {
                toml::Value::String(text) if text.is_empty() => {}
                toml::Value::String(text) => drop(self.values.insert(setting.key, Value { text, name })),
                toml::Value::Integer(_) | toml::Value::Boolean(_) | toml::Value::Float(_) => {
                    self.values.insert(setting.key, Value { text: value.to_string(), name });
                }
                _ => self.problems.push(format!("{name} must be one value, not a table, a list or a date")),
            }
        }
        Ok(())
    }

    /// The known key that this unknown one was probably meant to be.
    fn nearest(&self, wrong: &str) -> Option<&'static str> {
        let letters =
            |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
        let wrong = letters(wrong);
        self.known.iter().map(|setting| setting.key).find(|key| {
            let key = letters(key);
            key == wrong || (wrong.len() > 3 && (key.contains(&wrong) || wrong.contains(&key)))
        })
    }

    /// Adds a problem that concerns this setting; `mend` says what would be right.
    pub fn refuse(&mut self, key: &str, mend: &str) {
        let told = match self.values.get(key) {
            Some(value) => format!("{} is {:?}: {mend}", value.name, value.text),
            None => format!("{}: {mend}", key.to_uppercase()),
        };
        self.problems.push(told);
    }

    /// The value as it was set, or its default.
    pub fn optional(&self, key: &str) -> Option<&str> {
        let default =
            || self.known.iter().find(|setting| setting.key == key).and_then(|setting| setting.default);
        self.values.get(key).map(|value| value.text.as_str()).or_else(default)
    }

    /// A value that must be there; its absence is a problem.
    pub fn required(&mut self, key: &'static str) -> String {
        if let Some(text) = self.optional(key) {
            return text.to_owned();
        }
        let help = self.known.iter().find(|setting| setting.key == key).map_or("", |setting| setting.help);
        self.problems.push(format!("{} is required: {help}", key.to_uppercase()));
        self.missing = true;
        String::new()
    }

    /// A value of some type, or `T::default()` beside a problem that says what was `expected`.
    pub fn parse<T: FromStr + Default>(&mut self, key: &'static str, expected: &str) -> T {
        match self.optional(key).map(str::parse) {
            Some(Ok(value)) => value,
            Some(Err(_)) => {
                self.refuse(key, &format!("use {expected}"));
                T::default()
            }
            None => {
                self.required(key);
                T::default()
            }
        }
    }

    /// A TCP port to connect to.
    pub fn port(&mut self, key: &'static str) -> u16 {
        let port = self.listen_port(key);
        if port == 0 && self.optional(key) == Some("0") {
            self.refuse(key, "use a port from 1 to 65535");
        }
        port
    }

    /// A TCP port to listen on; 0 takes a free one, and the log says which.
    pub fn listen_port(&mut self, key: &'static str) -> u16 {
        self.parse(key, "a port from 1 to 65535")
    }

    /// A length of time such as `45s`, `1m 30s` or `500ms`.
    pub fn duration(&mut self, key: &'static str) -> Duration {
        self.parse::<Span>(key, "a length of time such as 45s, 5m or 500ms").0
    }

    /// A number of bytes such as `65536`, `64MiB` or `10GB`.
    pub fn bytes(&mut self, key: &'static str) -> u64 {
        self.parse::<Size>(key, "a number of bytes such as 65536, 64MiB or 10GB").0
    }

    /// `address:port`, or only a port, which is then on loopback.
    pub fn address(&mut self, key: &'static str) -> SocketAddr {
        self.parse::<Address>(key, "an address with a port such as 127.0.0.1:8889 or [::]:8889").0
    }

    /// Yes or no in any of the usual spellings.
    pub fn flag(&mut self, key: &'static str) -> bool {
        self.parse::<Flag>(key, "true or false").0
    }

    /// A value that must not be shown.
    pub fn secret(&self, key: &str) -> Option<Secret> {
        self.optional(key).map(|text| Secret(text.to_owned()))
    }

    /// The configuration, unless there was a problem.
    ///
    /// # Errors
    /// [`Error::Problems`] with all of them. When something required is missing, the settings that
    /// were left at their defaults are named as well, since they are probably missing too.
    pub fn or_ok<C>(mut self, config: C) -> Result<C, Error> {
        if self.problems.is_empty() {
            return Ok(config);
        }
        if self.missing {
            let defaults: Vec<_> = self
                .known
                .iter()
                .filter(|setting| !self.values.contains_key(setting.key))
                .filter_map(|setting| {
                    setting.default.map(|default| format!("{}={default}", setting.variable()))
                })
                .collect();
            if !defaults.is_empty() {
                self.problems.push(format!("not set either, so by default: {}", defaults.join(" ")));
            }
        }
        Err(Error::Problems(self.problems))
    }
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value itself, for the one place that must send or compare it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether this is the same secret, in a time that does not depend on where they differ.
    pub fn matches(&self, told: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differing = own.iter().zip(told).fold(0, |differing, (a, b)| differing | (a ^ b));
        own.len() == told.len() && differing == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

#[derive(Default)]
struct Span(Duration);

impl FromStr for Span {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        humantime::parse_duration(text).map(Self).map_err(drop)
    }
}

#[derive(Default)]
struct Size(u64);

impl FromStr for Size {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(digits).ok_or(())?;
        let scale: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "kb" => 1_000,
            "m" | "mib" => 1 << 20,
            "mb" => 1_000_000,
            "g" | "gib" => 1 << 30,
            "gb" => 1_000_000_000,
            "t" | "tib" => 1 << 40,
            "tb" => 1_000_000_000_000,
            _ => return Err(()),
        };
        number.parse::<u64>().map_err(drop)?.checked_mul(scale).map(Self).ok_or(())
    }
}

struct Address(SocketAddr);

impl Default for Address {
    fn default() -> Self {
        Self(SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

impl FromStr for Address {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
            return Ok(Self(SocketAddr::from(([127, 0, 0, 1], port))));
        }
        text.parse().map(Self).map_err(drop)
    }
}

#[derive(Default)]
struct Flag(bool);

impl FromStr for Flag {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(Self(true)),
            "false" | "0" | "no" | "off" => Ok(Self(false)),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests;
