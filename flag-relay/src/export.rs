//! `flag-relay export`: what a proxy key opens, as a folder that `OFFLINE` serves.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context as _, ensure};
use clap::{Arg, ArgMatches, Command};
use common::{config::Secret, disk};
use serde_json::{Value, json};

use crate::{
    environment::{Environment, History},
    shape,
    source::{
        layout,
        service::{self, Client, Service},
    },
};

/// Its part of the command line.
pub fn command() -> Command {
    let key =
        Arg::new("proxy_key").long("proxy-key").env("PROXY_KEY").hide_env_values(true).value_name("SECRET");
    let file = Arg::new("proxy_key_file").long("proxy-key-file").env("PROXY_KEY_FILE").value_name("FILE");
    let service = Arg::new("client_service").long("client-service").env("CLIENT_SERVICE").value_name("URL");
    Command::new("export")
        .about("Write what a proxy key opens into a folder that can be served without the flag service")
        .arg(
            Arg::new("folder")
                .value_name("FOLDER")
                .value_parser(clap::value_parser!(PathBuf))
                .required(true)
                .help("The folder; it is made, or must be empty"),
        )
        .arg(key.help("Opens the flag service"))
        .arg(file.value_parser(clap::value_parser!(PathBuf)).help("The file with that key"))
        .arg(service.default_value("https://config.ff.harness.io/api/1.0").help("The flag service"))
}

/// Runs it.
pub fn run(matches: &ArgMatches) -> ExitCode {
    match export(matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when stderr is gone.
            writeln!(io::stderr(), "flag-relay: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

fn export(matches: &ArgMatches) -> anyhow::Result<()> {
    let folder = matches.get_one::<PathBuf>("folder").cloned().unwrap_or_default();
    let is_empty = fs::read_dir(&folder).map_or(true, |mut entries| entries.next().is_none());
    ensure!(is_empty, "{} is not empty", folder.display());
    let service = Service {
        key: matches.get_one::<String>("proxy_key").map(|key| Secret::from(key.as_str())),
        key_file: matches.get_one::<PathBuf>("proxy_key_file").cloned(),
        client_service: matches.get_one::<String>("client_service").cloned().unwrap_or_default(),
        metric_service: String::new(),
    };
    let (_told, key) = service::key(&service).context("set PROXY_KEY or PROXY_KEY_FILE")?;
    let client = Client::new(&service, key, Arc::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let environments =
        runtime.block_on(client.configuration(None)).map_err(|error| anyhow::anyhow!(error.told()))?;
    let mut out = io::stdout().lock();
    for told in environments {
        ensure!(is_plain(&told.id), "environment {} cannot be the name of a folder", told.id);
        let built = Environment::build(told.clone(), &History::default(), 1);
        if let Err(problems) = built {
            let why: Vec<String> = problems.iter().map(ToString::to_string).collect();
            anyhow::bail!("environment {} could not be served: {}", told.id, why.join("; "));
        }
        write(&folder, &told).with_context(|| format!("write environment {}", told.id))?;
        let (flags, groups) = (told.flags.len(), told.segments.len());
        writeln!(out, "{}: {flags} flags, {groups} groups, {} SDK keys", told.id, told.keys.len())?;
    }
    Ok(())
}

/// Ids come from elsewhere, and become names of folders.
fn is_plain(id: &str) -> bool {
    !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

fn write(folder: &Path, told: &shape::Environment) -> anyhow::Result<()> {
    let folder = folder.join(format!("{}{}", layout::PREFIX, told.id));
    disk::make_folder(&folder)?;
    let keys: Vec<String> = told.keys.iter().map(ToString::to_string).collect();
    let files: [(&str, Value); 4] = [
        (layout::KEYS, json!(keys)),
        (layout::FLAGS, json!(told.flags)),
        (layout::GROUPS, json!(told.segments)),
        (layout::TARGETS, json!(told.targets)),
    ];
    for (name, content) in files {
        disk::replace(&folder.join(name), &serde_json::to_vec_pretty(&content)?)?;
    }
    Ok(())
}
