//! Environments as people have them: most flags are simple, some ask groups, attributes or a share of everybody.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};

/// The id of the first environment.
pub(super) const ENVIRONMENT: &str = "environment-0";
/// What opens the environment of this number.
pub(super) fn key(number: usize) -> String {
    format!("key-{number}")
}

/// Writes the file of an environment as whoever is careful does; `told` is what the flag `changing` serves.
pub(super) fn write(folder: &Path, number: usize, flags: usize, told: &str) -> Result<()> {
    let mut text = format!("environment: environment-{number}\nkeys: [{}]\nflags:\n", key(number));
    // Writing into a text cannot fail.
    writeln!(text, "  changing: {{ kind: string, variations: {{ it: {told:?} }}, default: it }}").ok();
    for flag in 1..flags {
        let rule = match flag % 10 {
            0 => "groups: { true: [staff] }",
            1 => "split: { by: identifier, weights: { true: 20, false: 80 } }",
            2 => {
                "rules: [{ when: { plan: { equal: pro }, email: { ends_with: \"@example.com\" } }, serve: true }]"
            }
            3 => "requires: { flag-1: true }",
            4 => "targets: { true: [ann, bob, carl] }",
            _ => "default: true",
        };
        writeln!(text, "  flag-{flag}: {{ {rule} }}").ok();
    }
    text.push_str(
        "groups:\n  staff: { include: [ann], rules: [{ email: { ends_with: \"@example.com\" } }] }\n",
    );
    let beside = folder.join(format!(".{number}"));
    fs::write(&beside, text).context("write an environment")?;
    fs::rename(beside, folder.join(format!("{number:04}.yaml"))).context("write an environment")
}
