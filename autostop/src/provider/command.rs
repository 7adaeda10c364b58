//! Commands of this machine as a provider: `virsh`, a script, anything with an exit code.

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use tokio::time::Instant;

use super::{
    Error, Fault, Provider, Seen, Sightings, Status, Stop, Target, options,
    process::{self, Output},
    text,
};

/// How many commands run at once for one question.
const AT_ONCE: usize = 8;

/// The provider.
pub struct Command {
    options: options::Command,
}

impl Command {
    /// With these commands.
    pub fn new(options: options::Command) -> Self {
        Self { options }
    }

    async fn each(&self, template: &[String], target: &Target, deadline: Instant) -> Result<(), Error> {
        // One after the other: their order is the rule's, and the first that fails says what is wrong.
        for id in &target.ids {
            run(template, id, target, deadline).await?;
        }
        Ok(())
    }

    async fn see(&self, id: &str, target: &Target, describe: bool, deadline: Instant) -> Result<Seen, Error> {
        let output = process::run(&arguments(&self.options.status, id, target)?, deadline).await?;
        let mut seen = match status(&output.stdout) {
            Some(status) => Seen::of(status),
            None if output.code == Some(0) => Seen::unknown(&format!("it printed {:?}", output.stdout)),
            None => return Err(failure(&output)),
        };
        let up = matches!(seen.status, Status::Running | Status::Starting);
        if let Some(address) = &self.options.address {
            seen.addresses.extend(text::address(&filled(address, id, target)?));
        } else if describe && up && !self.options.describe.is_empty() {
            let output = run(&self.options.describe, id, target, deadline).await?;
            seen.addresses.extend(output.stdout.split_whitespace().filter_map(text::address));
        }
        Ok(seen)
    }

    async fn see_all(&self, target: &Target, describe: bool, deadline: Instant) -> Result<Sightings, Error> {
        let seen = stream::iter(target.ids.clone()).map(|id| async move {
            let seen = self.see(&id, target, describe, deadline).await;
            (id, seen.unwrap_or_else(|error| unknown(&error)))
        });
        Ok(seen.buffer_unordered(AT_ONCE).collect().await)
    }
}

fn unknown(error: &Error) -> Seen {
    if error.fault == Fault::Gone { Seen::of(Status::Missing) } else { Seen::unknown(&error.to_string()) }
}

#[async_trait]
impl Provider for Command {
    async fn start(&self, target: &Target, deadline: Instant) -> Result<(), Error> {
        self.each(&self.options.start, target, deadline).await
    }

    async fn stop(&self, target: &Target, how: Stop, deadline: Instant) -> Result<(), Error> {
        let template = match how {
            Stop::Shutdown => &self.options.stop,
            Stop::Hibernate => &self.options.hibernate,
        };
        self.each(template, target, deadline).await
    }

    async fn status(&self, target: &Target, deadline: Instant) -> Result<Sightings, Error> {
        self.see_all(target, false, deadline).await
    }

    async fn describe(&self, target: &Target, deadline: Instant) -> Result<Sightings, Error> {
        self.see_all(target, true, deadline).await
    }
}

/// What a command prints about a status: our words, or those of `virsh domstate`.
fn status(printed: &str) -> Option<Status> {
    Some(match printed.trim().to_ascii_lowercase().as_str() {
        "stopped" | "shut off" => Status::Stopped,
        "starting" => Status::Starting,
        "running" => Status::Running,
        "stopping" | "in shutdown" => Status::Stopping,
        "missing" => Status::Missing,
        _ => return None,
    })
}

/// Runs the command for this id; any end but exit code 0 is an error.
pub(super) async fn run(
    template: &[String],
    id: &str,
    target: &Target,
    deadline: Instant,
) -> Result<Output, Error> {
    let output = process::run(&arguments(template, id, target)?, deadline).await?;
    if output.code == Some(0) { Ok(output) } else { Err(failure(&output)) }
}

/// What an exit code means, as sysexits.h has it.
fn failure(output: &Output) -> Error {
    let said = output.stderr.trim().lines().next_back().unwrap_or_default();
    match output.code {
        None => Fault::Interrupted.said(said),
        Some(66) => Fault::Gone.said(said),
        Some(69) => Fault::NoCapacity.said(said),
        Some(75) => Fault::Busy.said(said),
        Some(77) => Fault::Denied.said(said),
        Some(code) => Fault::Other.said(format!("exit code {code}: {said}")),
    }
}

/// The command for this id.
///
/// # Errors
/// When a parameter is not there, or a value would be taken for an option of the command.
fn arguments(template: &[String], id: &str, target: &Target) -> Result<Vec<String>, Error> {
    template
        .iter()
        .map(|argument| {
            let filled = filled(argument, id, target)?;
            if filled.starts_with('-') && !argument.starts_with('-') {
                return Err(Fault::Denied.said(format!("{filled} would be taken for an option")));
            }
            Ok(filled)
        })
        .collect()
}

/// One argument with `{id}` and `{params.NAME}` replaced, once: what is put in is not looked at again.
fn filled(argument: &str, id: &str, target: &Target) -> Result<String, Error> {
    let mut filled = String::new();
    let mut rest = argument;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        rest = after;
        let Some((name, after)) = after.split_once('}') else {
            filled.push('{');
            continue;
        };
        if name == "id" {
            filled.push_str(id);
        } else if let Some(name) = name.strip_prefix("params.") {
            filled.push_str(&parameter(target, name)?);
        } else {
            filled.push('{');
            continue;
        }
        rest = after;
    }
    filled.push_str(rest);
    if filled.contains('\0') { Err(Fault::Denied.said("a zero byte in an argument")) } else { Ok(filled) }
}

fn parameter(target: &Target, name: &str) -> Result<String, Error> {
    match target.params.get(name) {
        Some(serde_json::Value::String(text)) => Ok(text.clone()),
        Some(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => Ok(value.to_string()),
        _ => Err(Fault::Denied.said(format!("the rule has no params.{name}"))),
    }
}

#[cfg(test)]
mod tests;
