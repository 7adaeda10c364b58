//! `lw_proxy check`, `rules`, `warmup`, `cooldown` and `ledger`, as they are typed.

use std::{
    io::{self, BufWriter, Write as _},
    process::ExitCode,
};

use clap::{ArgMatches, FromArgMatches as _, Subcommand as _};
use common::{config::Error, daemon::BAD_CONFIGURATION};

use super::Daemon;

// Its doc comment would take the place of what the daemon says of itself.
#[derive(clap::Subcommand)]
enum Asked {
    /// Say what is wrong with the configuration and the rules, all of it at once
    Check,
    /// Print every rule of the running daemon with its state
    Rules {
        /// As the API tells it
        #[arg(long)]
        json: bool,
    },
    /// Bring a rule's target up
    Warmup {
        /// The rule's name or id
        #[arg(value_name = "NAME")]
        rule: String,
        /// For how many minutes it stays up at least; 5 unless told
        #[arg(long, value_name = "NUMBER")]
        minutes: Option<u64>,
    },
    /// Bring a rule's target down
    Cooldown {
        /// The rule's name or id
        #[arg(value_name = "NAME")]
        rule: String,
        /// Although it is in use or needed: whoever uses it is cut
        #[arg(long)]
        force: bool,
        /// Cool down the rules that depend on it as well
        #[arg(long)]
        propagate: bool,
    },
    /// Print what ran and what was saved
    Ledger {
        /// From this day or RFC 3339 time on; thirty days ago unless told
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// Before this day or time; now unless told
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
        /// Split up by day, week or month
        #[arg(long, value_name = "UNIT", value_parser = ["day", "week", "month"], default_value = "day")]
        group_by: String,
        /// Whose days; UTC unless told
        #[arg(long, value_name = "NAME")]
        time_zone: Option<String>,
        /// As the API tells it
        #[arg(long)]
        json: bool,
    },
}

/// What every command needs to know may stand behind its name as well.
const ANYWHERE: [&str; 3] = ["config", "proxyPort", "authToken"];

/// Gives the daemon's command line these commands.
pub fn with_commands(command: clap::Command) -> clap::Command {
    let command = Asked::augment_subcommands(command).subcommand_required(false);
    ANYWHERE.into_iter().fold(command, |command, name| command.mut_arg(name, |arg| arg.global(true)))
}

/// Does what was asked: 0 when it worked, 1 when not, 78 when the configuration is bad.
pub fn run(matches: &ArgMatches) -> ExitCode {
    let asked = match Asked::from_arg_matches(matches) {
        Ok(asked) => asked,
        Err(error) => error.exit(),
    };
    match answer(matches, asked) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let is_bad_configuration = error.downcast_ref::<Error>().is_some();
            if is_bad_configuration {
                say(&format!("lw_proxy: the configuration cannot be used: {error:#}"));
                return ExitCode::from(BAD_CONFIGURATION);
            }
            say(&format!("lw_proxy: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn answer(matches: &ArgMatches, asked: Asked) -> anyhow::Result<()> {
    if let Asked::Check = asked {
        let rules = super::check(matches)?;
        say(&format!(
            "lw_proxy: the configuration is good, and so {}",
            if rules == 1 { "is its rule".to_owned() } else { format!("are its {rules} rules") }
        ));
        return Ok(());
    }
    let daemon = Daemon::configured(matches)?;
    let mut out = BufWriter::new(io::stdout());
    match asked {
        Asked::Check => {}
        Asked::Rules { json } => super::rules(&daemon, json, &mut out)?,
        Asked::Warmup { rule, minutes } => super::warmup(&daemon, &rule, minutes, &mut out)?,
        Asked::Cooldown { rule, force, propagate } => {
            super::cooldown(&daemon, &rule, force, propagate, &mut out)?;
        }
        Asked::Ledger { from, to, group_by, time_zone, json } => {
            let told = [("from", from), ("to", to), ("group_by", Some(group_by)), ("time_zone", time_zone)];
            let told: Vec<_> = told.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            super::ledger(&daemon, &told, json, &mut out)?;
        }
    }
    Ok(out.flush()?)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[expect(clippy::print_stderr, reason = "said to someone at a terminal; stdout is for data")]
fn say(line: &str) {
    eprintln!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        with_commands(crate::config::command(&crate::LW_PROXY)).debug_assert();
    }

    #[test]
    fn the_configuration_may_be_named_before_the_command_or_behind_it() {
        for line in
            [["lw_proxy", "--config", "/x.toml", "rules"], ["lw_proxy", "rules", "--config", "/x.toml"]]
        {
            let matches = with_commands(crate::config::command(&crate::LW_PROXY)).get_matches_from(line);
            assert_eq!(crate::LW_PROXY.file(&matches).to_str(), Some("/x.toml"), "{line:?}");
        }
    }
}
