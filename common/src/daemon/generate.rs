//! What a package carries beside the binary, told by the binary itself so that it cannot say anything else: its
//! manual page, its completions, an example of its configuration.

use std::{fmt::Write as _, io, iter};

use clap::{Arg, ArgMatches, Command, ValueEnum, value_parser};
use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Inline, Roff, bold, roman},
};

use crate::config::Setting;

const FLAG: &str = "generate";

/// What can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// The manual page, section 8.
    Man,
    /// An example of the configuration file, every default in a comment.
    Config,
    Bash,
    Zsh,
    Fish,
}

/// The flag that asks. Nobody but who builds packages needs it.
pub(super) fn flag() -> Arg {
    Arg::new(FLAG).long(FLAG).value_name("KIND").value_parser(value_parser!(Kind)).hide(true)
}

/// What this command line asks for.
pub(super) fn asked(matches: &ArgMatches) -> Option<Kind> {
    matches.get_one(FLAG).copied()
}

/// Writes it.
pub(super) fn generate(
    kind: Kind,
    command: Command,
    settings: &[&Setting],
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let shell = match kind {
        Kind::Man => return man(&command, out),
        Kind::Config => return out.write_all(example(&command, settings).as_bytes()),
        Kind::Bash => Shell::Bash,
        Kind::Zsh => Shell::Zsh,
        Kind::Fish => Shell::Fish,
    };
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command.clone(), name, out);
    Ok(())
}

/// Every setting with its default, commented out, so that the file changes nothing as it stands.
fn example(command: &Command, settings: &[&Setting]) -> String {
    let name = command.get_name();
    let mut text = format!(
        "# Configuration of {name}. A line without its # is set; what stands there now is the default.\n\
         # The variables of the environment go before this file, and flags before both: {name} --help\n"
    );
    for setting in settings {
        let value = value(setting);
        let _infallible = write!(text, "\n# {}.\n#{} = {value}\n", setting.help, setting.key);
    }
    text
}

/// Its default as TOML; an empty text, which counts as not set, where there is none.
fn value(setting: &Setting) -> String {
    let text = setting.default.unwrap_or_default();
    let quoted = |text: &str| toml::Value::from(text).to_string();
    if setting.is_list() {
        let parts = text.split(',').filter(|part| !part.is_empty()).map(quoted);
        return format!("[{}]", parts.collect::<Vec<_>>().join(", "));
    }
    if text.parse::<bool>().is_ok() || text.parse::<u32>().is_ok() {
        return text.to_owned();
    }
    quoted(text)
}

fn man(command: &Command, out: &mut dyn io::Write) -> io::Result<()> {
    let page = Man::new(command.clone()).section("8").manual("Wayside").date("");
    page.render_title(out)?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    if command.has_subcommands() {
        page.render_subcommands_section(out)?;
    }
    rest(command).to_writer(out)
}

/// What holds for every daemon.
fn rest(command: &Command) -> Roff {
    let name = command.get_name();
    let file = command
        .get_arguments()
        .find(|arg| arg.get_id() == "config")
        .and_then(|arg| arg.get_default_values().first().map(|file| file.to_string_lossy().into_owned()));
    let file = file.unwrap_or_else(|| format!("/etc/wayside/{name}.toml"));
    let mut page = Roff::new();
    if let Some(told) = command.get_after_help() {
        page.control("SH", ["ENVIRONMENT"]);
        page.text([roman(told.to_string())]);
    }
    let mut section = |name: &str, entries: &[(String, &str)]| {
        page.control("SH", [name]);
        for (term, told) in entries {
            page.control("TP", []);
            page.text([bold(term.as_str())]);
            page.text([roman(*told)]);
        }
    };
    let told = |term: &str, told: &'static str| (term.to_owned(), told);
    section("FILES", &[(file, "The configuration, as TOML. It may be absent.")]);
    section(
        "SIGNALS",
        &[
            told("SIGTERM, SIGINT", "End in good order; a second one ends at once."),
            told("SIGHUP", "Read again what can be read again."),
        ],
    );
    section(
        "EXIT STATUS",
        &[
            told("0", "Ended in good order."),
            told("1", "Failed, or something open was cut."),
            told("2", "The flags are wrong."),
            told("78", "The configuration is wrong."),
        ],
    );
    page.control("SH", ["SEE ALSO"]);
    page.text(see_also(name));
    page
}

/// The page of its configuration.
fn see_also(name: &str) -> Vec<Inline> {
    let page = if name.starts_with("lw_") { "lw_proxy.toml".to_owned() } else { format!("{name}.toml") };
    iter::once(bold(page)).chain([roman("(5), "), bold("systemctl"), roman("(1)")]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Settings, with_settings};

    static KNOWN: [Setting; 5] = [
        Setting::new("listen_port", "PORT", "Where it listens", Some("4143")),
        Setting::new("names", "NAME,…", "Whom it serves", Some("a,b")),
        Setting::new("token", "SECRET", "What it asks for", None),
        Setting::new("deep", "BOOL", "Whether it looks closely", Some("false")),
        Setting::new("wait", "TIME", "How \"long\" it waits", Some("8s")),
    ];

    fn command() -> Command {
        let config = Arg::new("config").long("config").default_value("/etc/wayside/test.toml");
        with_settings(Command::new("test").about("Does nothing").arg(config), &KNOWN)
    }

    fn told(kind: Kind) -> String {
        let mut out = Vec::new();
        generate(kind, command(), &KNOWN.iter().collect::<Vec<_>>(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_example_without_its_comments_sets_what_holds_anyway() {
        let example = told(Kind::Config);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("test.toml");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            let matches = command().get_matches_from(["test"]);
            let settings = Settings::read(&KNOWN, &matches, &file, true).unwrap();
            KNOWN.iter().map(|one| settings.optional(one.key).map(str::to_owned)).collect::<Vec<_>>()
        };
        let as_it_stands = read(&example);
        let set: String = example
            .lines()
            .map(|line| line.strip_prefix('#').filter(|line| !line.starts_with(' ')).unwrap_or(line))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(set.lines().filter(|line| line.contains(" = ")).count(), KNOWN.len());
        assert_eq!(read(&set), as_it_stands);
    }

    #[test]
    fn the_page_names_every_variable_and_every_way_to_end() {
        let page = told(Kind::Man);
        for word in ["listen\\-port", "/etc/wayside/test.toml", "SIGTERM", "78", "test.toml"] {
            assert!(page.contains(word), "{word}");
        }
    }

    #[test]
    fn every_shell_completes_its_flags() {
        for kind in [Kind::Bash, Kind::Zsh, Kind::Fish] {
            assert!(told(kind).contains("listen-port"), "{kind:?}");
        }
    }
}
