//! The commands beside the daemon: `agent-relay queue` shows what is in a queue, `agent-relay dead-letters` lists, puts
//! back or removes what was put aside, and `agent-relay import` reads old files.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Arg, ArgMatches, Command};

use crate::queue::list;

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

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
    let stats = Arg::new("stats")
        .long("stats")
        .value_name("ADDRESS")
        .value_parser(clap::value_parser!(SocketAddr))
        .default_value("127.0.0.1:3835")
        .global(true)
        .help("Where the stats of the running relay are");
    let token = Arg::new("token")
        .long("token")
        .env("STATS_TOKEN")
        .hide_env_values(true)
        .value_name("SECRET")
        .global(true)
        .help("The token of the stats");
    let ids = Arg::new("id").value_name("ID").required(true).num_args(1..).help("As the list has them");
    let dead = Command::new("dead-letters")
        .about("List, put back or remove what the other side refused for good")
        .arg(stats)
        .arg(token)
        .subcommand_required(true)
        .subcommand(Command::new("list").about("Print them as JSON"))
        .subcommand(Command::new("replay").about("Put them back into the queue").arg(ids.clone()))
        .subcommand(Command::new("remove").about("Remove them for good").arg(ids));
    crate::DAEMON
        .command()
        .subcommand(import)
        .subcommand(dead)
        .subcommand(Command::new("queue").about("Show every record in a queue, then the balance").arg(folder))
}

fn failed(error: &io::Error) -> ExitCode {
    // When even that cannot be said, the exit code has to do.
    writeln!(io::stderr(), "agent-relay: {error}").ok();
    ExitCode::FAILURE
}

/// Keeps the daemon out while its files are read.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let file = match File::open(folder.join("lock")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let told = format!("{} is in use: stop the daemon, or look at its stats", folder.display());
    file.try_lock_shared().map_err(|_| io::Error::new(io::ErrorKind::ResourceBusy, told))?;
    Ok(Some(file))
}

/// Runs `agent-relay queue`.
pub fn queue(matches: &ArgMatches) -> ExitCode {
    let folder = matches.get_one::<PathBuf>("folder").cloned().unwrap_or_default();
    match show(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn show(folder: &Path) -> io::Result<()> {
    let _lock = lock(folder)?;
    let mut out = io::stdout().lock();
    let mut told = Ok(());
    let balance = list::list(folder, &mut |line| {
        let state = if line.is_queued { "queued" } else { "done" };
        let head = line.head.lines().next().unwrap_or_default();
        let list::Line { file, agent, number, time_ms, body_bytes, .. } = &line;
        let said = writeln!(out, "{file}\t{agent}\t{number}\t{time_ms}\t{state}\t{body_bytes} bytes\t{head}");
        if told.is_ok() {
            told = said;
        }
    })?;
    told?;
    writeln!(out, "{}", serde_json::to_string(&balance).map_err(io::Error::other)?)
}

/// Runs `agent-relay dead-letters`.
pub fn dead_letters(matches: &ArgMatches) -> ExitCode {
    let Some((deed, matches)) = matches.subcommand() else { return ExitCode::FAILURE };
    let ids = || matches.get_many::<String>("id").into_iter().flatten();
    const PATH: &str = "/api/v1/dead-letters";
    let done = match deed {
        "list" => ask(matches, "GET", PATH).and_then(|text| writeln!(io::stdout(), "{text}")),
        "replay" => ids().try_for_each(|id| ask(matches, "POST", &format!("{PATH}/{id}/replay")).map(drop)),
        _ => ids().try_for_each(|id| ask(matches, "DELETE", &format!("{PATH}/{id}")).map(drop)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Asks the running daemon; an error when it does not do it.
fn ask(matches: &ArgMatches, method: &str, path: &str) -> io::Result<String> {
    let address = matches.get_one::<SocketAddr>("stats").copied();
    let address = address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 3835)));
    let token = matches.get_one::<String>("token");
    let token = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n{token}");
    stream.write_all(format!("{head}Connection: close\r\nContent-Length: 0\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status.starts_with('2') {
        return Ok(body.to_owned());
    }
    let reason = match status {
        "404" => "there is no such dead letter".to_owned(),
        "503" => "it cannot be put back now: the queue or the disk is full".to_owned(),
        _ => format!("the relay answers {status}"),
    };
    Err(io::Error::other(format!("{method} {path}: {reason}")))
}

/// Runs `agent-relay import`.
pub fn import(matches: &ArgMatches) -> ExitCode {
    let file = matches.get_one::<PathBuf>("file").cloned().unwrap_or_default();
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
    let done = std::fs::read_to_string(&file)
        .map_err(named)
        .and_then(|conf| io::stdout().write_all(crate::import::import(&conf).as_bytes()));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_commands_are_sound() {
        super::command().debug_assert();
    }
}
