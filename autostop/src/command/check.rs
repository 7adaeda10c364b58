//! Whether the configuration and the rules are good: all that is wrong with either, at once.

use clap::ArgMatches;
use common::config::{Error, Settings};

use crate::{LW_PROXY, config::Config, control::book, rule::Surroundings};

/// How many rules there are, if all is good.
///
/// # Errors
/// With every problem of the configuration and of the rules.
pub fn check(matches: &ArgMatches) -> Result<usize, Error> {
    let mut settings = LW_PROXY.settings(matches)?;
    // Those that every daemon has; the start reads them elsewhere.
    settings.duration("grace_period");
    if settings.optional("log_level").is_none_or(|level| level.parse::<tracing::Level>().is_err()) {
        settings.refuse("log_level", "use error, warn, info, debug or trace");
    }
    let mut problems = match Config::control_plane(settings) {
        Ok(_) => Vec::new(),
        Err(Error::Problems(problems)) => problems,
        Err(other) => return Err(other),
    };
    // The rules are checked against what the configuration means to say, even where it does not.
    let mut settings = LW_PROXY.settings(matches)?;
    let rules_dir = settings.required("rulesDir");
    let given = book::given(settings.required("stateDir").as_ref());
    let here = settings.optional("accessPointID").unwrap_or_default().to_owned();
    let copy = book::copy(settings.required("stateDir").as_ref());
    let is_shared = settings.optional("apiURL").is_some();
    let around = surroundings(settings);
    let found = if is_shared {
        book::read_copy(&copy, &here, &around)
    } else {
        book::read(rules_dir.as_ref(), &given, &here, &around)
    };
    match found {
        Ok((all, _)) if problems.is_empty() => Ok(all.len()),
        Ok(_) => Err(Error::Problems(problems)),
        Err(wrong) => {
            problems.extend(wrong.iter().map(ToString::to_string));
            Err(Error::Problems(problems))
        }
    }
}

fn surroundings(mut settings: Settings) -> Surroundings {
    let providers = match settings.take("providers") {
        Some(toml::Value::Table(tables)) => tables.keys().cloned().collect(),
        _ => Vec::new(),
    };
    let tcp_ports: crate::config::Ports = settings.parse("tcpPorts", "two ports from 1 to 65535");
    Surroundings { providers, tcp_ports: tcp_ports.iter() }
}
