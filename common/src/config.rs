//! Settings from flags, the environment, a TOML file and defaults, with every problem told at once.

mod nearest;
mod value;

use std::{collections::BTreeMap, fmt, fs, io, net::SocketAddr, path::Path, str::FromStr, time::Duration};

pub use self::nearest::nearest;
use self::value::{Address, Flag, Size, Span};

/// One setting: the flag `--proxy-in-port`, the variable `PROXY_IN_PORT` and the key `proxy_in_port`
/// (or `proxyInPort`) in the file are the same thing.
#[derive(Debug)]
pub struct Setting {
    /// Its key in the file; the others follow from it.
    pub key: &'static str,
    /// What its value looks like, for the help text. One that ends in `,…` is a list: a list in the file,
    /// with commas between elsewhere.
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
        variable(self.key)
    }

    /// Its flag, without the dashes.
    pub fn flag(&self) -> String {
        self.variable().to_lowercase().replace('_', "-")
    }

    pub(crate) fn is_list(&self) -> bool {
        self.value.ends_with(",…")
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

/// The environment variable of a key: `proxy_in_port` and `proxyInPort` are both `PROXY_IN_PORT`.
fn variable(key: &str) -> String {
    let mut variable = String::new();
    let mut lower = false;
    for char in key.chars() {
        if lower && char.is_uppercase() {
            variable.push('_');
        }
        lower = char.is_lowercase();
        variable.extend(char.to_uppercase());
    }
    variable
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
    /// The file is not TOML. The line itself is not shown: there may be a secret in it.
    #[error("{path} is not TOML: line {line}: {message}")]
    Syntax {
        /// Its path.
        path: String,
        /// Where, counted from 1.
        line: usize,
        /// Why.
        message: String,
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
    /// What the file has beside, by key, until somebody takes it.
    beside: toml::Table,
    taken: Vec<&'static str>,
    file: String,
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
        let mut settings = Self {
            known,
            values: BTreeMap::new(),
            beside: toml::Table::new(),
            taken: Vec::new(),
            file: file.display().to_string(),
            problems: Vec::new(),
            missing: false,
        };
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
        let table: toml::Table = toml::from_str(&text).map_err(|error: toml::de::Error| {
            let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            Error::Syntax { path: path.clone(), line, message: error.message().to_owned() }
        })?;
        for (key, value) in table {
            let Some(setting) = self.known.iter().find(|setting| setting.key == key) else {
                self.beside.insert(key, value);
                continue;
            };
            let name = format!("{key} in {path}");
            let text = match &value {
                toml::Value::Array(list) if setting.is_list() => {
                    list.iter().map(one).collect::<Option<Vec<_>>>().map(|list| list.join(","))
                }
                value => one(value).filter(|text| !text.is_empty() || !value.is_str()),
            };
            match text {
                Some(text) => drop(self.values.insert(setting.key, Value { text, name })),
                None if value.is_str() => {}
                None if setting.is_list() => self.problems.push(format!("{name} must be a list of texts")),
                None => {
                    self.problems.push(format!("{name} must be one value, not a table, a list or a date"));
                }
            }
        }
        Ok(())
    }

    /// Takes a table, or a list of tables, that stands in the file beside the settings.
    pub fn take(&mut self, key: &'static str) -> Option<toml::Value> {
        self.taken.push(key);
        self.beside.remove(key)
    }

    /// Everything in the file that nobody knows.
    fn refuse_unknown(&mut self) {
        let known = self.known.iter().map(|setting| setting.key).chain(self.taken.iter().copied());
        let known: Vec<_> = known.collect();
        for key in self.beside.keys() {
            let near = nearest(key, known.iter().copied())
                .map(|near| format!("; did you mean {near}?"))
                .unwrap_or_default();
            self.problems.push(format!("{key} in {} is not a setting{near}", self.file));
        }
    }

    /// Adds a problem of something that is no setting by itself.
    pub fn problem(&mut self, told: String) {
        self.problems.push(told);
    }

    /// Adds a problem that concerns this setting; `mend` says what would be right.
    pub fn refuse(&mut self, key: &str, mend: &str) {
        let told = match self.values.get(key) {
            Some(value) => format!("{} is {:?}: {mend}", value.name, value.text),
            None => format!("{}: {mend}", variable(key)),
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
        self.problems.push(format!("{} is required: {help}", variable(key)));
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

    /// The parts of a list; none when it is empty.
    pub fn list(&self, key: &str) -> Vec<String> {
        let text = self.optional(key).unwrap_or_default();
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// A list of `address:port` to listen on.
    pub fn addresses(&mut self, key: &'static str) -> Vec<SocketAddr> {
        let told: Result<Vec<_>, ()> =
            self.list(key).iter().map(|part| part.parse::<Address>().map(|part| part.0)).collect();
        told.unwrap_or_else(|()| {
            self.refuse(key, "use addresses with ports such as 127.0.0.1:80 or [::]:80, with commas between");
            Vec::new()
        })
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
        self.refuse_unknown();
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

/// A single value as text; `None` for a table, a list or a date.
fn one(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(_) | toml::Value::Boolean(_) | toml::Value::Float(_) => Some(value.to_string()),
        _ => None,
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

#[cfg(test)]
mod tests;
