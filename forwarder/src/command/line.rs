//! `forwarder query`, `forwarder sql` and `forwarder export`, as they are typed.

use std::{
    io::{self, BufWriter, Write as _},
    process::ExitCode,
};

use clap::{Args, FromArgMatches as _, Subcommand as _};
use common::config::Secret;
use url::Url;

use super::Target;
use crate::export::Format;

// Its doc comment would take the place of what the daemon says of itself.
#[derive(clap::Subcommand)]
enum Asked {
    /// Print exchanges as RRPair JSON, one a line, newest first
    Query {
        #[command(flatten)]
        whom: Whom,
        #[command(flatten)]
        filter: Filter,
        /// How many at most
        #[arg(long, value_name = "NUMBER")]
        limit: Option<String>,
        /// Go on where a page ended; its end is told on stderr
        #[arg(long, value_name = "CURSOR")]
        cursor: Option<String>,
    },
    /// Print the rows that an SQL statement selects from the table `exchanges`, as JSON, one a line
    Sql {
        #[command(flatten)]
        whom: Whom,
        /// One statement that only reads, such as "SELECT path, count(*) FROM exchanges GROUP BY path"
        statement: String,
    },
    /// Print every exchange that fits, for other programs to read
    Export {
        #[command(flatten)]
        whom: Whom,
        #[command(flatten)]
        filter: Filter,
        /// jsonl: RRPairs, one a line; har: an HTTP Archive 1.2 for browsers and proxies
        #[arg(long, value_name = "FORMAT", value_parser = ["jsonl", "har"], default_value = "jsonl")]
        format: String,
    },
}

#[derive(Args)]
struct Whom {
    /// A running forwarder (http://host:port) or the data folder of one, running or not
    #[arg(long, value_name = "URL|FOLDER", default_value = "http://127.0.0.1:8889")]
    from: String,
    /// The token of that forwarder's Analyzer
    #[arg(long, env = "ANALYZER_TOKEN", hide_env_values = true, value_name = "SECRET")]
    analyzer_token: Option<String>,
    /// Where the sealed segments of that folder are, if not in it
    #[arg(long, env = "STORE_URL", value_name = "URL")]
    store_url: Option<Url>,
}

impl Whom {
    fn target(self) -> Target {
        Target::new(&self.from, self.analyzer_token.as_deref().map(Secret::from), self.store_url)
    }
}

#[derive(Args)]
#[group(skip)]
struct Filter {
    /// From this time on: 2026-11-20T04:00:00Z, 2026-11-20, or how long ago such as 15m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Of this application (APP_LABEL)
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Of this proxy (APP_POD_NAME)
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// http, tcp, tls, http2 or websocket
    #[arg(long, value_name = "NAME")]
    protocol: Option<String>,
    /// With this HTTP method
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// Whose path begins so; * stands for anything
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// With this status: 200, 5xx, 400-499, >=500
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// That took at least so long
    #[arg(long, value_name = "MILLISECONDS")]
    min_duration_ms: Option<String>,
    /// With this text in a head or a body
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
}

impl Filter {
    fn told(self) -> Vec<(String, String)> {
        let told = [
            ("since", self.since),
            ("until", self.until),
            ("service", self.service),
            ("instance", self.instance),
            ("protocol", self.protocol),
            ("method", self.method),
            ("path", self.path),
            ("status", self.status),
            ("min_duration_ms", self.min_duration_ms),
            ("text", self.text),
        ];
        told.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

/// Gives the daemon's command line these commands.
pub fn with_commands(command: clap::Command) -> clap::Command {
    Asked::augment_subcommands(command).subcommand_required(false)
}

/// Does what was asked: 0 when it worked, 1 when not.
pub fn run(matches: &clap::ArgMatches) -> ExitCode {
    let asked = match Asked::from_arg_matches(matches) {
        Ok(asked) => asked,
        Err(error) => error.exit(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(answer(asked))) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("forwarder: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn answer(asked: Asked) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout());
    match asked {
        Asked::Query { whom, filter, limit, cursor } => {
            let page = [("limit", limit), ("cursor", cursor)];
            let page = page.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
            let told: Vec<_> = filter.told().into_iter().chain(page).collect();
            if let Some(next) = whom.target().query(&told, &mut out).await? {
                out.flush()?;
                say(&format!("there are more: --cursor {next}"));
            }
        }
        Asked::Sql { whom, statement } => {
            if whom.target().sql(&statement, &mut out).await? {
                out.flush()?;
                say("there were more rows than are shown: add a LIMIT or select fewer");
            }
        }
        Asked::Export { whom, filter, format } => {
            let format = if format == "har" { Format::Har } else { Format::JsonLines };
            whom.target().export(&filter.told(), format, &mut out).await?;
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
    #[test]
    fn the_command_line_is_sound() {
        super::with_commands(crate::DAEMON.command()).debug_assert();
    }
}
