//! What can be done with a target: start it, stop it, ask how it is and where it is.

pub mod batch;
mod bucket;
pub mod call;
pub mod command;
pub mod docker;
pub mod options;
pub mod plugin;
mod process;
pub mod systemd;
pub mod text;
pub mod wake_on_lan;

use std::collections::BTreeMap;

use async_trait::async_trait;
use common::{config::Secret, drain::Drain};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

pub use self::{
    call::{Error, Fault},
    options::Options,
};

/// What a call is about: one thing that is started and stopped as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    /// What the rule calls it: instance, database, containers, clusters, scale_group, …
    pub kind: String,
    /// The provider's names of what belongs to it. Never empty, none of them twice.
    pub ids: Vec<String>,
    /// Whatever else a provider wants to know: a region, a desired count, a MAC address, ….
    #[serde(default)]
    pub params: Params,
}

/// Free settings of a target, passed to the provider as they stand in the rule.
pub type Params = BTreeMap<String, serde_json::Value>;

/// How a target is put to sleep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stop {
    /// It is shut down in its own good order.
    #[default]
    Shutdown,
    /// It keeps its memory, where the provider can do that.
    Hibernate,
}

/// How one of a target's ids is, as its provider sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is down, and can be started.
    Stopped,
    /// It was started and is not up yet.
    Starting,
    /// It is up, as far as the provider can see; whether it answers is another question.
    Running,
    /// It was stopped and is not down yet.
    Stopping,
    /// There is no such thing (any more).
    Missing,
    /// The provider cannot tell; [`Seen::reason`] says why.
    #[default]
    Unknown,
}

/// What a provider says of one id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// How it is.
    pub status: Status,
    /// Where it is: host names or addresses, each with or without a port of its own. `status` may leave
    /// them out, `describe` gives all there are.
    pub addresses: Vec<String>,
    /// Why there is no better answer, fit for a log and a page.
    pub reason: Option<String>,
}

impl Seen {
    /// Only a status.
    pub fn of(status: Status) -> Self {
        Self { status, ..Self::default() }
    }

    /// The provider could not tell, for this reason.
    pub fn unknown(reason: &str) -> Self {
        Self { reason: Some(text::clean(reason)), ..Self::default() }
    }
}

/// Every id that was asked for, and what is known of it.
pub type Sightings = BTreeMap<String, Seen>;

/// What each secret that was asked for says, or why it does not.
pub type Secrets = BTreeMap<String, Result<Secret, Error>>;

/// Somebody who can start and stop things.
///
/// A call may take until `deadline` and not longer: whoever calls gives up then, and drops the future. Starting
/// what runs and stopping what is down are no errors. A call that ended in an error whose outcome is unknown
/// ([`Fault::outcome_is_known`]) may have had its effect all the same; `status` tells.
///
/// Call through [`batch::Caller`], which adds deadlines, single flight, batching, retries and the budget.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Asks for all ids to be up. Returns once the provider has taken the order, not when they are up.
    async fn start(&self, target: &Target, deadline: Instant) -> Result<(), Error>;

    /// Asks for all ids to be down. Returns once the provider has taken the order.
    async fn stop(&self, target: &Target, how: Stop, deadline: Instant) -> Result<(), Error>;

    /// How each id is; an answer is there for every one of them.
    async fn status(&self, target: &Target, deadline: Instant) -> Result<Sightings, Error>;

    /// As `status`, with all addresses.
    async fn describe(&self, target: &Target, deadline: Instant) -> Result<Sightings, Error>;

    /// What these secrets of the provider's store say; an answer is there for every one of them.
    async fn secrets(&self, _ids: &[String], _deadline: Instant) -> Result<Secrets, Error> {
        Err(Fault::Unsupported.said("this kind of provider keeps no secrets"))
    }

    /// Lines of a plug-in that were no answers, or came too late, and were dropped.
    fn dropped_lines(&self) -> u64 {
        0
    }

    /// How many ids one `status` may carry; more are asked for in several calls.
    fn most_ids(&self) -> usize {
        100
    }
}

/// The provider of this kind.
fn build(name: &str, kind: &options::Kind, drain: &Drain) -> Box<dyn Provider> {
    match kind.clone() {
        options::Kind::Command(options) => Box::new(command::Command::new(options)),
        options::Kind::Docker(options) => Box::new(docker::Docker::new(options)),
        options::Kind::Plugin(options) => Box::new(plugin::Plugin::new(name, options, drain)),
        options::Kind::Systemd(options) => Box::new(systemd::Systemd::new(options)),
        options::Kind::WakeOnLan(options) => Box::new(wake_on_lan::WakeOnLan::new(options)),
    }
}

/// The one status of a target of several ids: what the slowest or worst of them says.
///
/// All up is up and all down is down. Something between is on its way: towards running when an id is starting,
/// towards stopped when one is stopping, and unknown when some are up and some down with nothing on its way.
pub fn summary(seen: &Sightings) -> Status {
    let any = |status| seen.values().any(|seen| seen.status == status);
    let all = |status| !seen.is_empty() && seen.values().all(|seen| seen.status == status);
    for status in [Status::Running, Status::Stopped, Status::Missing] {
        if all(status) {
            return status;
        }
    }
    for status in [Status::Missing, Status::Unknown] {
        if any(status) {
            return Status::Unknown;
        }
    }
    match (any(Status::Starting), any(Status::Stopping)) {
        (true, false) => Status::Starting,
        (false, true) => Status::Stopping,
        _ => Status::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_of_several_ids_is_what_the_worst_of_them_is() {
        use Status::{Missing, Running, Starting, Stopped, Stopping, Unknown};
        let check = |statuses: &[Status], expected: Status| {
            let seen = statuses.iter().enumerate().map(|(at, status)| (at.to_string(), Seen::of(*status)));
            assert_eq!(summary(&seen.collect()), expected, "{statuses:?}");
        };
        check(&[], Unknown);
        check(&[Running, Running], Running);
        check(&[Stopped, Stopped], Stopped);
        check(&[Missing], Missing);
        check(&[Running, Starting], Starting);
        check(&[Stopped, Starting], Starting);
        check(&[Stopped, Stopping], Stopping);
        check(&[Running, Stopping], Stopping);
        check(&[Running, Stopped], Unknown);
        check(&[Starting, Stopping], Unknown);
        check(&[Running, Missing], Unknown);
        check(&[Running, Unknown], Unknown);
    }
}
