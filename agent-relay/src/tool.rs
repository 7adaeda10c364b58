//! The commands beside the daemon: `agent-relay queue` shows what is in a queue, `agent-relay import` reads old files.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Arg, ArgMatches, Command};

use crate::queue::list;

/// The daemon's command line with the other commands.
pub fn command() -> Command {
    let folder = Arg::new("folder")
        .value_name("FOLDER")
        .value_parser(clap::value_parser!(PathBuf))
        .default_value("/var/lib/wayside/agent-relay")
        .help("The data folder of the relay");
    let file = Arg::new("file")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .required(true)
        .help("A stackstate.conf, a datadog.conf or a haproxy.cfg");
    let import = Command::new("import")
        .about("Say in TOML what the configuration of an agent or of HAProxy says")
        .arg(file);
    crate::DAEMON
        .command()
        .subcommand(import)
        .subcommand(Command::new("queue").about("Show every record in a queue, then the balance").arg(folder))
}

/// Runs `agent-relay queue`.
pub fn queue(matches: &ArgMatches) -> ExitCode {
    let folder = matches.get_one::<PathBuf>("folder").cloned().unwrap_or_default();
    let mut out = io::stdout().lock();
    let mut broken = false;
    let listed = list::list(&folder, &mut |line| {
        let state = if line.is_queued { "queued" } else { "done" };
        let head = line.head.lines().next().unwrap_or_default();
        let told = writeln!(
            out,
            "{}\t{}\t{}\t{}\t{}\t{} bytes\t{head}",
            line.file, line.agent, line.number, line.time_ms, state, line.body_bytes
        );
        broken |= told.is_err();
    });
    let told = match listed {
        Ok(balance) => serde_json::to_string(&balance)
            .map_err(io::Error::other)
            .and_then(|balance| writeln!(out, "{balance}")),
        Err(error) => writeln!(io::stderr(), "agent-relay: {error}").and(Err(error)),
    };
    if told.is_err() || broken { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs `agent-relay import`.
pub fn import(matches: &ArgMatches) -> ExitCode {
    let file = matches.get_one::<PathBuf>("file").cloned().unwrap_or_default();
    let done = match std::fs::read_to_string(&file) {
        Ok(conf) => io::stdout().write_all(crate::import::import(&conf).as_bytes()),
        Err(error) => writeln!(io::stderr(), "agent-relay: {}: {error}", file.display()).and(Err(error)),
    };
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
