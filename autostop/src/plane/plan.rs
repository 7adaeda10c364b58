//! The plan of the control plane as the data plane uses it: checked, and quick to look things up in.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    ops::RangeInclusive,
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;

use super::{
    activity::Floor,
    gate::Gate,
    pattern::{Match, PathPattern, block},
    route::{Action, Route, Routes},
};
use crate::wire;

/// What is held where the plan does not say how much.
const HOLD_CLIENTS: u32 = 10_000;
const HOLD_BYTES: usize = 16 << 10;
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Default)]
pub struct Plan {
    /// Grows with every plan.
    pub revision: u64,
    /// All targets by the id of their rule.
    pub targets: BTreeMap<String, Arc<Target>>,
    /// What is behind which TCP port.
    pub ports: HashMap<u16, Port>,
    /// What is behind which host and path.
    pub routes: Routes,
}

/// What may be asleep.
pub struct Target {
    /// Its name, for people.
    pub name: String,
    /// Who goes through and who waits; outlives the plan.
    pub gate: Arc<Gate>,
    /// How it is known to be ready, beside a port that answers.
    pub health: Option<Health>,
    /// Whether every client is held, and none sees a page.
    pub hide_progress_page: bool,
    /// How clients are held.
    pub hold: Hold,
    /// PROXY protocol version spoken to it, if any.
    pub proxy_protocol_out: Option<ProxyVersion>,
    exclusions: Vec<Match>,
    inclusions: Vec<Match>,
    wakers: Option<Vec<IpNet>>,
}

/// How clients of a target are held.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    /// For how long; without it, for as long as it takes.
    pub patience: Option<Duration>,
    /// How many at once.
    pub clients: u32,
    /// How much of what all of them send is read; the rest stays with them.
    pub bytes: usize,
    /// A connection that is open so long wakes the target without a byte.
    pub grace: Duration,
}

/// How a target is asked whether it is well.
#[derive(Clone, Debug)]
pub struct Health {
    /// Where.
    pub port: u16,
    /// Over TLS.
    pub tls: bool,
    /// What HTTP path; without it, it is enough that the port accepts.
    pub path: Option<String>,
    /// How long it may take.
    pub timeout: Duration,
    /// Statuses of one that is well.
    pub good: RangeInclusive<u16>,
}

/// Versions of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

/// A TCP port.
#[derive(Clone)]
pub struct Port {
    /// What is behind it.
    pub target: Arc<Target>,
    /// At which port of it.
    pub target_port: u16,
    /// What it speaks.
    pub preset: Preset,
    /// Whether clients say first, in the PROXY protocol, who they are.
    pub proxy_protocol_in: bool,
}

/// What a TCP port speaks, as far as waiting and activity are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Anything.
    Tcp,
    /// SSH.
    Ssh,
    /// RDP.
    Rdp,
    /// PostgreSQL.
    Postgres,
    /// MySQL.
    Mysql,
}

impl From<wire::Preset> for Preset {
    fn from(told: wire::Preset) -> Self {
        match told {
            wire::Preset::Ssh => Self::Ssh,
            wire::Preset::Rdp => Self::Rdp,
            wire::Preset::Postgres => Self::Postgres,
            wire::Preset::Mysql => Self::Mysql,
            wire::Preset::Tcp | wire::Preset::Unspecified => Self::Tcp,
        }
    }
}

impl Preset {
    /// Its name, as it is told to people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Ssh => "ssh",
            Self::Rdp => "rdp",
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
        }
    }

    /// What does not count as activity.
    pub fn floor(self) -> Floor {
        match self {
            Self::Tcp | Self::Mysql | Self::Ssh => Floor { bytes: 256, both_speak: true },
            Self::Postgres => Floor { bytes: 512, both_speak: true },
            Self::Rdp => Floor { bytes: 256, both_speak: false },
        }
    }

    /// Whether a client that ends its half may still wait for an answer. In the protocols that are
    /// known here it has left.
    pub fn half_closes(self) -> bool {
        self == Self::Tcp
    }
}

impl Target {
    /// Whether a request from there is none that neither wakes nor keeps awake.
    pub fn counts(&self, path: &str, user_agent: &str, client: IpAddr) -> bool {
        let any = |list: &[Match]| list.iter().any(|one| one.means(path, user_agent, client));
        (self.inclusions.is_empty() || any(&self.inclusions)) && !any(&self.exclusions)
    }

    /// Whether somebody from there may wake it.
    pub fn may_wake(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.wakers.as_ref().is_none_or(|blocks| blocks.iter().any(|block| block.contains(&client)))
    }
}

impl Plan {
    /// Understands what came over the wire; with what could not be understood and was left out.
    pub fn read(plan: wire::Plan, mut gate: impl FnMut(&str) -> Arc<Gate>) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        let mut read = Self { revision: plan.revision, ..Self::default() };
        let mut routes = Vec::new();
        for told in plan.targets {
            let target = Arc::new(target(&told, gate(&told.rule_id), &mut problems));
            for port in &told.tcp {
                read.take_port(port, &target, &mut problems);
            }
            for route in &told.http {
                match self::route(route, &target) {
                    Some(route) => routes.push((told.domains.clone(), route)),
                    None => problems.push(format!("an HTTP route of {} has an odd port", told.name)),
                }
            }
            read.targets.insert(told.rule_id, target);
        }
        read.routes = Routes::new(routes);
        (read, problems)
    }

    fn take_port(&mut self, told: &wire::TcpPort, target: &Arc<Target>, problems: &mut Vec<String>) {
        let (Some(port), Some(target_port)) = (port(told.port), port(told.target_port)) else {
            problems
                .push(format!("port {} to {} of {} is no port", told.port, told.target_port, target.name));
            return;
        };
        let preset = told.preset().into();
        let behind = Port {
            target: Arc::clone(target),
            target_port,
            preset,
            proxy_protocol_in: told.proxy_protocol_in,
        };
        if self.ports.insert(port, behind).is_some() {
            problems.push(format!("port {port} is given twice; {} has it now", target.name));
        }
    }
}

fn port(told: u32) -> Option<u16> {
    u16::try_from(told).ok().filter(|port| *port != 0)
}

fn millis(told: u64) -> Option<Duration> {
    (told > 0).then(|| Duration::from_millis(told))
}

fn target(told: &wire::Target, gate: Arc<Gate>, problems: &mut Vec<String>) -> Target {
    let mut understood = |text: &String| {
        let block = block(text);
        if block.is_none() {
            problems.push(format!("{text:?} of {} is no CIDR block, and holds nobody", told.name));
        }
        block
    };
    let wakers = (!told.wakers.is_empty()).then(|| told.wakers.iter().filter_map(&mut understood).collect());
    let mut matches = |list: &[wire::Match]| {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        list.iter()
            .map(|one| Match {
                path: some(&one.path),
                user_agent: some(&one.user_agent.to_lowercase()),
                client: some(&one.client).map(|text| understood(&text)),
            })
            .collect()
    };
    Target {
        name: told.name.clone(),
        gate,
        health: told.health.as_ref().and_then(Health::read),
        hide_progress_page: told.hide_progress_page,
        hold: Hold {
            patience: millis(told.hold_ms),
            clients: if told.hold_clients == 0 { HOLD_CLIENTS } else { told.hold_clients },
            bytes: usize::try_from(told.hold_bytes).ok().filter(|bytes| *bytes > 0).unwrap_or(HOLD_BYTES),
            grace: Duration::from_millis(told.wake_grace_ms),
        },
        proxy_protocol_out: match told.proxy_protocol_out {
            1 => Some(ProxyVersion::V1),
            2 => Some(ProxyVersion::V2),
            _ => None,
        },
        exclusions: matches(&told.exclusions),
        inclusions: matches(&told.inclusions),
        wakers,
    }
}

impl Health {
    /// As it is told; `None` when it names no port.
    pub fn read(told: &wire::HealthCheck) -> Option<Self> {
        let is_http = matches!(told.protocol.as_str(), "http" | "https");
        let path = if told.path.starts_with('/') { told.path.clone() } else { format!("/{}", told.path) };
        let status = |told: u32| u16::try_from(told).unwrap_or(u16::MAX);
        Some(Self {
            port: port(told.port)?,
            tls: told.protocol == "https",
            path: is_http.then_some(path),
            timeout: millis(told.timeout_ms).unwrap_or(HEALTH_TIMEOUT),
            good: match (told.status_code_from, told.status_code_to) {
                (0, 0) => 200..=399,
                (from, 0) => status(from)..=status(from),
                (from, to) => status(from)..=status(to),
            },
        })
    }
}

fn route(told: &wire::HttpRoute, target: &Arc<Target>) -> Option<Route> {
    let tls = told.source_protocol == "https";
    let target_tls = told.target_protocol == "https";
    let or = |told: u32, tls: bool| if told == 0 { Some(if tls { 443 } else { 80 }) } else { port(told) };
    Some(Route {
        target: Arc::clone(target),
        tls,
        port: or(told.source_port, tls)?,
        target_tls,
        target_port: or(told.target_port, target_tls)?,
        action: match told.action() {
            wire::Action::Redirect => Action::Redirect(told.redirect_url.clone()),
            wire::Action::Forward | wire::Action::Unspecified => Action::Forward,
        },
        path: PathPattern::new(&told.path),
    })
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;

    fn read(targets: Vec<wire::Target>) -> (Plan, Vec<String>) {
        let gate = |id: &str| Arc::new(Gate::new(id, Arc::new(Notify::new())));
        Plan::read(wire::Plan { targets, ..wire::Plan::default() }, gate)
    }

    fn told(change: impl FnOnce(&mut wire::Target)) -> wire::Target {
        let mut target = wire::Target { rule_id: "r".to_owned(), name: "r".to_owned(), ..Default::default() };
        change(&mut target);
        target
    }

    #[test]
    fn a_block_that_cannot_be_understood_lets_nobody_wake() {
        let (plan, problems) = read(vec![told(|target| target.wakers = vec!["10.0.0.0/99".to_owned()])]);
        assert_eq!(problems.len(), 1);
        assert!(!plan.targets["r"].may_wake("10.0.0.1".parse().unwrap()));
        let (plan, _) = read(vec![told(|target| target.wakers = vec!["10.0.0.0/8".to_owned()])]);
        assert!(plan.targets["r"].may_wake("::ffff:10.0.0.1".parse().unwrap()));
        assert!(!plan.targets["r"].may_wake("192.0.2.1".parse().unwrap()));
        assert!(read(vec![told(|_| ())]).0.targets["r"].may_wake("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn ports_that_are_none_are_left_out_and_told() {
        let port = |port, target_port| wire::TcpPort { port, target_port, ..Default::default() };
        let tcp = vec![port(0, 22), port(22, 70_000), port(56_000, 22), port(56_000, 23)];
        let (plan, problems) = read(vec![told(|target| target.tcp = tcp)]);
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert_eq!(plan.ports.keys().collect::<Vec<_>>(), [&56_000]);
    }

    #[test]
    fn with_inclusions_only_these_count_and_exclusions_never_do() {
        let one = |path: &str| wire::Match { path: path.to_owned(), ..Default::default() };
        let (plan, _) = read(vec![told(|target| {
            target.inclusions = vec![one("/app/*")];
            target.exclusions = vec![one("/app/health")];
        })]);
        let counts = |path: &str| plan.targets["r"].counts(path, "", "192.0.2.1".parse().unwrap());
        assert!(counts("/app/x") && !counts("/") && !counts("/app/health"));
    }

    #[test]
    fn what_is_not_told_has_a_default() {
        let (plan, _) = read(vec![told(|target| {
            let (protocol, path) = ("http".to_owned(), "ready".to_owned());
            target.health = Some(wire::HealthCheck { protocol, path, port: 80, ..Default::default() });
        })]);
        let target = &plan.targets["r"];
        assert_eq!((target.hold.clients, target.hold.bytes), (HOLD_CLIENTS, HOLD_BYTES));
        assert_eq!(target.hold.patience, None);
        let health = target.health.as_ref().unwrap();
        assert_eq!((health.path.as_deref(), health.good.clone()), (Some("/ready"), 200..=399));
    }
}
