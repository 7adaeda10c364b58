//! The commands beside the daemon: `check` says what is wrong with a folder and where SDKs disagree, `eval` explains a
//! decision.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};

use crate::{
    environment::{Environment, History},
    evaluate::{Dialect, Evaluation, Subject},
    lint::{Kind, lint},
    shape::Target,
    source::directory::Scanner,
};

/// The daemon's command line with the other commands.
pub fn command() -> Command {
    let folder = || {
        Arg::new("folder")
            .value_name("FOLDER")
            .value_parser(clap::value_parser!(PathBuf))
            .default_value("/config")
            .help("The folder with the environments")
    };
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    crate::DAEMON
        .command()
        .subcommand(crate::saas::SAAS.command().name("saas"))
        .subcommand(crate::export::command())
        .subcommand(
            Command::new("check")
                .about(
                    "Say what is wrong with a folder of environments, and where SDKs disagree on its rules",
                )
                .arg(folder())
                .arg(switch("json", "One JSON object for each finding"))
                .arg(switch("strict", "Fail when SDKs may disagree as well")),
        )
        .subcommand(
            Command::new("eval")
                .about("Explain what a target gets, or evaluate all flags for many targets")
                .arg(folder())
                .arg(text("env", "ID", "The environment; the only one where it is left out"))
                .arg(text("flag", "FLAG", "The flag; all of them where it is left out"))
                .arg(text("target", "IDENTIFIER", "The target"))
                .arg(text("name", "NAME", "Its name; its identifier where it is left out"))
                .arg(
                    Arg::new("attribute")
                        .long("attribute")
                        .value_name("KEY=VALUE")
                        .action(ArgAction::Append)
                        .help("One of its attributes; JSON where it is JSON"),
                )
                .arg(text(
                    "targets",
                    "FILE",
                    "A JSON list of targets instead; one JSON object is told for each",
                ))
                .arg(
                    text("dialect", "SDK", "Whose reading of the rules is followed")
                        .value_parser(["relay", "python"])
                        .default_value("relay"),
                ),
        )
}

/// Runs `flag-relay check`.
pub fn check(matches: &ArgMatches) -> ExitCode {
    done(checked(matches))
}

/// Runs `flag-relay eval`.
pub fn eval(matches: &ArgMatches) -> ExitCode {
    done(evaluated(matches))
}

fn done(result: anyhow::Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody is left to tell when stderr is gone.
            writeln!(io::stderr(), "flag-relay: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

/// What is wrong, by environment or file.
type Problems = BTreeMap<String, Vec<String>>;

/// Everything in the folder that can be served, and what is wrong with the rest.
fn read(matches: &ArgMatches) -> anyhow::Result<(Vec<Environment>, Problems)> {
    let folder = matches.get_one::<PathBuf>("folder").cloned().unwrap_or_default();
    let found = Scanner::new(folder).scan()?;
    let (mut environments, mut problems) = (Vec::new(), found.problems);
    for told in found.changed {
        let id = told.id.clone();
        match Environment::build(told, &History::default(), 1) {
            Ok(environment) => environments.push(environment),
            Err(wrong) => drop(problems.insert(id, wrong.iter().map(ToString::to_string).collect())),
        }
    }
    Ok((environments, problems))
}

fn checked(matches: &ArgMatches) -> anyhow::Result<bool> {
    let (environments, problems) = read(matches)?;
    let (as_json, mut out) = (matches.get_flag("json"), io::stdout().lock());
    let mut is_good = problems.is_empty();
    for (place, told) in &problems {
        for text in told {
            if as_json {
                writeln!(out, "{}", json!({ "environment": place, "kind": "refused", "text": text }))?;
            } else {
                writeln!(out, "{place}: refused: {text}")?;
            }
        }
    }
    for environment in &environments {
        let found = lint(&environment.rules);
        is_good &= !matches.get_flag("strict") || found.iter().all(|told| told.kind == Kind::Advice);
        for finding in found {
            if as_json {
                let mut told = serde_json::to_value(&finding)?;
                if let Value::Object(told) = &mut told {
                    told.insert("environment".to_owned(), (*environment.id).into());
                }
                writeln!(out, "{told}")?;
                continue;
            }
            let kind = match finding.kind {
                Kind::Rules => "SDKs disagree",
                Kind::Types => "SDKs may disagree",
                Kind::Advice => "advice",
            };
            writeln!(out, "{}: {}: {kind}: {}", environment.id, finding.place, finding.text)?;
        }
        if !as_json {
            let (flags, groups) = (environment.rules.flags.len(), environment.rules.groups.len());
            writeln!(out, "{}: {flags} flags and {groups} groups can be served", environment.id)?;
        }
    }
    Ok(is_good)
}

fn evaluated(matches: &ArgMatches) -> anyhow::Result<bool> {
    let (environments, problems) = read(matches)?;
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let environment = match (text("env"), environments.as_slice()) {
        (Some(id), all) => all.iter().find(|told| *told.id == *id).with_context(|| {
            let why = problems.get(id).map(|told| told.join("; ")).unwrap_or_default();
            format!("there is no environment {id} that can be served: {why}")
        })?,
        (None, [only]) => only,
        (None, all) => {
            anyhow::bail!("there are {} environments that can be served: say which with --env", all.len())
        }
    };
    let dialect = if text("dialect") == Some("python") { Dialect::Python } else { Dialect::Relay };
    let mut out = io::stdout().lock();
    if let Some(file) = text("targets") {
        let read = std::fs::read(file).with_context(|| format!("read {file}"))?;
        let targets: Vec<Target> =
            serde_json::from_slice(&read).with_context(|| format!("understand {file}"))?;
        for target in &targets {
            writeln!(out, "{}", all(environment, target, dialect))?;
        }
        return Ok(true);
    }
    let target = target(matches, environment)?;
    let Some(flag) = text("flag") else {
        writeln!(out, "{}", all(environment, &target, dialect))?;
        return Ok(true);
    };
    let flag = environment.rules.flag(flag).with_context(|| format!("there is no flag {flag}"))?;
    let subject = Subject::new(&target);
    let (decision, steps) = Evaluation::new(&environment.rules, &subject, dialect).explain(flag);
    for step in steps {
        writeln!(out, "{}{}", "  ".repeat(step.depth), step.text)?;
    }
    match decision.and_then(|told| Some((flag.variation(told.variation)?, told.cause))) {
        Some((variation, cause)) => {
            writeln!(
                out,
                "{} = {} ({}), because of {cause:?}",
                flag.identifier, variation.value, variation.identifier
            )?;
        }
        None => writeln!(out, "{} serves nothing", flag.identifier)?,
    }
    Ok(true)
}

/// The target of the command line; what the environment knows of it counts where nothing is told.
fn target(matches: &ArgMatches, environment: &Environment) -> anyhow::Result<Target> {
    let identifier = matches.get_one::<String>("target").context("say which target with --target")?;
    let known = environment.targets.get(identifier.as_str()).cloned();
    let mut target = known.unwrap_or_else(|| Target::named(identifier));
    if let Some(name) = matches.get_one::<String>("name") {
        target.name.clone_from(name);
    }
    for told in matches.get_many::<String>("attribute").into_iter().flatten() {
        let (key, value) = told.split_once('=').with_context(|| format!("{told}: use KEY=VALUE"))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        target.attributes.insert(key.to_owned(), value);
    }
    Ok(target)
}

fn all(environment: &Environment, target: &Target, dialect: Dialect) -> Value {
    let subject = Subject::new(target);
    let evaluation = Evaluation::new(&environment.rules, &subject, dialect);
    let values = environment.rules.flags.iter().filter_map(|flag| {
        let (variation, cause) = evaluation.variation(flag)?;
        let told = json!({ "variation": &*variation.identifier, "value": &*variation.value, "cause": format!("{cause:?}") });
        Some((flag.identifier.to_string(), told))
    });
    json!({ "target": target.identifier, "flags": values.collect::<serde_json::Map<_, _>>() })
}
