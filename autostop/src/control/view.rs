//! Pure. What the API and the dashboard show of a rule.

mod past;
mod plane;

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

pub use self::{
    past::{Past, history, past, past_of},
    plane::{PlaneView, planes},
};
use super::{Asked, run::name};
use crate::{
    idle::Doubt,
    machine::{Desired, Keep, State},
    rule::{Rule, RuleId},
    wire,
};

/// A rule and its target at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct RuleView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it minds.
    pub kind: String,
    /// By whom.
    pub provider: String,
    /// The documented state.
    pub state: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Why.
    pub why: String,
    /// What went wrong last, until a wake succeeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Where the target is.
    pub addresses: Vec<String>,
    /// Where clients come to: host names.
    pub domains: Vec<String>,
    /// Where clients come to: the target's port, or `ssh` or `rdp`, and ours.
    pub connect: Vec<(String, u16)>,
    /// Idle for so long, it is stopped.
    pub idle_time_mins: f64,
    /// Why it stays up, while it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_awake_by: Option<String>,
    /// Who uses it, busiest first.
    pub holders: Vec<Holder>,
    /// How many connections and requests are open.
    pub open: u32,
    /// How many are held until it is ready.
    pub parked: u32,
    /// Bytes carried since the planes started.
    pub bytes: u64,
    /// What the schedule wants now: up, down or nothing.
    pub schedule: &'static str,
    /// When it may want something else.
    pub schedule_changes: Option<Timestamp>,
    /// Nothing is started or stopped.
    pub dry_run: bool,
    /// What it depends on.
    pub depends: Vec<String>,
    /// What depends on it, directly or through others, each before what it depends on.
    pub needed_by: Vec<String>,
}

/// Somebody who uses a target.
#[derive(Clone, Debug, Serialize)]
pub struct Holder {
    /// Its address and port.
    pub peer: String,
    /// What it speaks.
    pub protocol: String,
    /// What it asked for.
    pub detail: String,
    /// For how long it is there.
    pub open_seconds: u64,
    /// What it moved in the last minute.
    pub bytes_last_minute: u64,
    /// Whether it keeps the target awake.
    pub counts: bool,
}

/// Everything at one moment.
#[derive(Clone, Debug)]
pub struct Overview {
    /// When.
    pub now: Timestamp,
    /// Every rule.
    pub rules: Vec<RuleView>,
    /// Every plane that ever attached and was not forgotten.
    pub planes: Vec<PlaneView>,
    /// Why the journal cannot be written, while it cannot.
    pub trouble: Option<String>,
}

/// All of it.
pub fn overview(asked: &Asked<'_>) -> Overview {
    Overview {
        now: asked.now.wall,
        rules: rules(asked),
        planes: planes(asked),
        trouble: asked.trouble.map(str::to_owned),
    }
}

/// Every rule.
pub fn rules(asked: &Asked<'_>) -> Vec<RuleView> {
    asked.mind.rules().iter().map(|rule| view(asked, rule)).collect()
}

/// One rule.
pub fn rule(asked: &Asked<'_>, id: &RuleId) -> Option<RuleView> {
    asked.mind.rules().get(id).map(|rule| view(asked, rule))
}

fn view(asked: &Asked<'_>, rule: &Rule) -> RuleView {
    let machine = asked.mind.machine(&rule.id);
    let past = asked.kept.rules.get(&rule.id);
    let last = past.and_then(|past| past.changes.last());
    let (desired, schedule_changes) = asked.mind.schedule(&rule.id);
    let activity = asked.links.values().filter_map(|linked| linked.activity.get(&rule.id));
    let (mut holders, mut open, mut parked, mut bytes) = (Vec::new(), 0_u32, 0_u32, 0_u64);
    for told in activity {
        open = open.saturating_add(told.open_connections).saturating_add(told.open_requests);
        parked = parked.saturating_add(told.parked);
        bytes = bytes.saturating_add(told.bytes_up).saturating_add(told.bytes_down);
        holders.extend(told.holders.iter().map(holder));
    }
    holders.sort_by_key(|holder| std::cmp::Reverse((holder.counts, holder.bytes_last_minute)));
    let kept = machine.and_then(|(machine, settings)| machine.kept_up_by(asked.now.steady, settings));
    RuleView {
        id: rule.id.to_string(),
        name: rule.name.clone(),
        kind: word(rule.kind),
        provider: rule.provider.clone(),
        state: name(machine.map_or(State::Created, |(machine, _)| machine.state())),
        since: last.map(|change| change.at),
        why: last.map(|change| change.why.to_string()).unwrap_or_default(),
        error: machine.and_then(|(machine, _)| machine.error().map(str::to_owned)),
        addresses: machine.map(|(machine, _)| machine.addresses().to_vec()).unwrap_or_default(),
        domains: rule.domains.clone(),
        connect: connect(asked, rule),
        idle_time_mins: rule.idle_time.as_secs_f64() / 60.0,
        kept_awake_by: kept.map(|keep| reason(&keep, asked.now.steady, &holders)),
        holders,
        open,
        parked,
        bytes,
        schedule: match desired {
            Desired::Nothing => "nothing",
            Desired::Up => "up",
            Desired::Down { .. } => "down",
        },
        schedule_changes,
        dry_run: rule.dry_run,
        depends: rule.depends.iter().map(|on| on.rule.to_string()).collect(),
        needed_by: asked
            .mind
            .rules()
            .graph()
            .goes_down_with(&rule.id)
            .iter()
            .map(ToString::to_string)
            .collect(),
    }
}

fn holder(told: &wire::Holder) -> Holder {
    Holder {
        peer: told.peer.clone(),
        protocol: told.protocol.clone(),
        detail: told.detail.clone(),
        open_seconds: told.open_ms / 1000,
        bytes_last_minute: told.bytes_last_minute,
        counts: told.counts,
    }
}

/// The documented map: `ssh`, `rdp` or the target's port, and the port to connect to.
fn connect(asked: &Asked<'_>, rule: &Rule) -> Vec<(String, u16)> {
    use crate::rule::Preset;
    let ports = rule.tcp.iter().filter_map(|tcp| {
        let key = match tcp.preset {
            Preset::Ssh => "ssh".to_owned(),
            Preset::Rdp => "rdp".to_owned(),
            _ => tcp.target_port.to_string(),
        };
        Some((key, asked.kept.ports.get(&rule.id, tcp.target_port)?))
    });
    ports.collect()
}

fn word(value: impl Serialize) -> String {
    let told = serde_json::to_value(value).ok();
    told.and_then(|told| told.as_str().map(str::to_owned)).unwrap_or_default()
}

fn reason(keep: &Keep, now: Duration, holders: &[Holder]) -> String {
    let left = |until: Duration| {
        let seconds = until.saturating_sub(now).as_secs() + 1;
        humantime::format_duration(Duration::from_secs(seconds)).to_string()
    };
    match keep {
        Keep::Unknown(Doubt::NoPlane) => {
            "no data plane ever attached: nobody knows whether it is used".to_owned()
        }
        Keep::Unknown(Doubt::Away(plane)) => {
            format!("the data plane {plane} is away: nobody knows whether it is used there")
        }
        Keep::Unknown(Doubt::Silent(plane)) => {
            format!("the data plane {plane} does not say whether it is used")
        }
        Keep::InUse(open) => match holders.iter().find(|holder| holder.counts) {
            Some(first) if *open == 1 => format!("{} ({})", first.peer, first.protocol),
            Some(first) => format!("{} ({}) and {} more", first.peer, first.protocol, open - 1),
            None => format!("{open} open connections"),
        },
        Keep::Recent(until) => format!("used lately; idle in {}", left(*until)),
        Keep::MinOnline(until) => format!("it just came up; it stays for {}", left(*until)),
        Keep::Pause(until) => format!("a stop did not work out; the next follows in {}", left(*until)),
        Keep::Schedule => "its schedule".to_owned(),
        Keep::Needed => "a rule that depends on it".to_owned(),
    }
}
