//! Pure. Rules: what is started and stopped, for whom, and when.

mod check;
pub mod file;
mod id;
mod network;
mod params;
mod plan;
mod shelf;
mod windows;

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc, time::Duration};

use ipnet::IpNet;

pub use check::check;
pub use file::{
    Action, Container, Database, Filter, HealthProtocol, HttpProtocol, IdleAction, Kind, Preset, RuleFile,
    ScaleGroup, from_json, parse, written,
};
pub use id::RuleId;
pub use shelf::{Home, Shelf, Written};

use crate::{depends::Graph, machine::OnExternalChange, provider::Params, schedule::Schedules};

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[error("{file}: {key}{}{message}", if .key.is_empty() { "" } else { ": " })]
pub struct Problem {
    /// The file, as it was named to [`check()`].
    pub file: String,
    /// The key, dotted; empty for the file as a whole.
    pub key: String,
    /// What is wrong and how to mend it.
    pub message: String,
}

/// What rules are checked against.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The providers that are configured.
    pub providers: Vec<String>,
    /// The range of which TCP rules get their ports.
    pub tcp_ports: RangeInclusive<u16>,
}

/// A rule that was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Follows from the name.
    pub id: RuleId,
    /// As people call it.
    pub name: String,
    /// What kind of thing it minds.
    pub kind: Kind,
    /// The configured provider that minds it.
    pub provider: String,
    /// Which machines.
    pub filter: Filter,
    /// Which scale group.
    pub scale_group: Option<ScaleGroup>,
    /// Which container service.
    pub container: Option<Container>,
    /// Which database.
    pub database: Option<Database>,
    /// What else its provider wants to know.
    pub params: Params,
    /// Whether it is shut down or hibernates.
    pub idle_action: IdleAction,
    /// Idle for this long, it is stopped.
    pub idle_time: Duration,
    /// After it came up, it stays up for at least this long.
    pub min_online: Duration,
    /// From the call until it has to be ready.
    pub start_timeout: Duration,
    /// From the call until it has to be stopped.
    pub stop_timeout: Duration,
    /// A connection without a byte wakes after this time.
    pub wake_grace: Duration,
    /// Host names, lower case, perhaps `*.` before them.
    pub domains: Vec<String>,
    /// Certificates that its provider keeps: chain and key, by the names of the secrets.
    pub certificates: Vec<(String, String)>,
    /// HTTP routes.
    pub http: Vec<HttpRoute>,
    /// How it is told that the target is ready; without it, by the first port that accepts a connection.
    pub health: Option<Health>,
    /// TCP ports, each target port once.
    pub tcp: Vec<TcpPort>,
    /// What has to be up before it.
    pub depends: Vec<Dependency>,
    /// When it is up or down whatever the traffic.
    pub schedules: Schedules,
    /// Every client is held, none gets the progress page.
    pub hide_progress_page: bool,
    /// Never started nor stopped; what would have been is recorded.
    pub dry_run: bool,
    /// What to do when somebody else starts or stops it.
    pub on_external_change: OnExternalChange,
    /// A connection that only keeps itself alive does not count, and is cut by the stop.
    pub stop_under_keepalives: bool,
    /// Requests that neither wake nor keep awake.
    pub exclusions: Vec<Match>,
    /// If there are any, only these requests wake and keep awake.
    pub inclusions: Vec<Match>,
    /// Who may wake it; empty: everybody.
    pub wakers: Vec<IpNet>,
    /// How many may wait for it, and how long.
    pub hold: Hold,
    /// PROXY protocol spoken to the target: 0 none, 1 or 2.
    pub proxy_protocol_out: u8,
    /// What an hour of running costs, in whatever currency.
    pub price_per_hour: Option<f64>,
}

/// One HTTP route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRoute {
    /// What clients speak.
    pub source_protocol: HttpProtocol,
    /// Where clients come to.
    pub source_port: u16,
    /// What the target speaks.
    pub target_protocol: HttpProtocol,
    /// Where the target listens.
    pub target_port: u16,
    /// Forward or redirect.
    pub action: Action,
    /// A prefix, or with `*` a pattern; empty: every path.
    pub path: String,
    /// Where a redirect leads; empty: to the same URL at the target's protocol and port.
    pub redirect_url: String,
}

/// A health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What it speaks.
    pub protocol: HealthProtocol,
    /// The target's port.
    pub port: u16,
    /// What it asks for.
    pub path: String,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Which answers are good.
    pub status: RangeInclusive<u16>,
}

/// One TCP port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpPort {
    /// Where the target listens.
    pub target_port: u16,
    /// Where clients come to, when the rule says so; else one is allotted.
    pub connect_on: Option<u16>,
    /// What is spoken.
    pub preset: Preset,
    /// Clients speak the PROXY protocol first.
    pub proxy_protocol_in: bool,
}

/// What has to be up before a rule's target is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The rule.
    pub rule: RuleId,
    /// For how long it has to be up.
    pub delay: Duration,
}

/// Requests. Everything that is set has to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// A path, `*` standing for any run of characters; empty: every path.
    pub path: String,
    /// A part of the User-Agent; empty: every one.
    pub user_agent: String,
    /// The client's address.
    pub client: Option<IpNet>,
}

/// How many may wait for a target, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// How long a client is held; zero: until the wake succeeds or fails.
    pub max_time: Duration,
    /// How many clients are held at once.
    pub max_clients: u32,
    /// How much of what they send is held, for all of them together.
    pub max_bytes: u64,
}

/// All rules, checked together.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Shared by all copies: there may be thousands, and most of a rule never changes.
    rules: BTreeMap<RuleId, Arc<Rule>>,
    graph: Graph,
}

impl Rules {
    /// One rule.
    pub fn get(&self, id: &RuleId) -> Option<&Rule> {
        self.rules.get(id).map(Arc::as_ref)
    }

    /// All of them, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.values().map(Arc::as_ref)
    }

    /// Who depends on whom.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }
}

impl Rule {
    /// The provider's own names of what is minded: machines, database, scale group, container service.
    pub fn resource_ids(&self) -> impl Iterator<Item = &str> {
        let named = [
            self.database.as_ref().map(|database| database.id.as_str()),
            self.scale_group
                .as_ref()
                .map(|group| if group.id.is_empty() { &group.name } else { &group.id }.as_str()),
            self.container.as_ref().map(|container| container.service.as_str()),
        ];
        self.filter.vm_ids.iter().map(String::as_str).chain(named.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests;
