//! Pure. A rule as it is written in `rules.d/*.toml`, or given to the API: documented names, nothing checked
//! but the shape.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Problem;
use crate::machine::OnExternalChange;

/// A duration as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number of seconds or a duration such as \"90s\" or \"5m\"")]
pub enum Span {
    /// Whole seconds.
    Seconds(u64),
    /// With a unit.
    Text(String),
}

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        #[expect(missing_docs, reason = "the documented names; docs/autostop.md says what each does")]
        pub struct $name { $($(#[$attribute])* pub $field: $type,)* }
    )* };
}

tables! {
    /// The whole file.
    RuleFile {
        name: String,
        kind: Kind,
        proxy_id: String,
        #[serde(alias = "cloud_connector_id")]
        provider: String,
        idle_time_mins: Option<u64>,
        idle_time: Option<Span>,
        min_online: Option<Span>,
        start_timeout: Option<Span>,
        stop_timeout: Option<Span>,
        wake_grace: Option<Span>,
        custom_domains: Vec<String>,
        idle_action: IdleAction,
        hide_progress_page: bool,
        dry_run: bool,
        on_external_change: OnExternalChange,
        stop_under_keepalives: bool,
        proxy_protocol_out: u8,
        price_per_hour: Option<f64>,
        wakers: Vec<String>,
        filter: Filter,
        scale_group: Option<ScaleGroup>,
        container: Option<Container>,
        database: Option<Database>,
        params: toml::Table,
        certificates: Vec<InStore>,
        http: Http,
        tcp: Tcp,
        hold: Hold,
        depends: Vec<Depends>,
        schedule: Vec<Schedule>,
        exclusions: Vec<Match>,
        inclusions: Vec<Match>,
    }
    /// `[filter]`: which machines.
    Filter {
        vm_ids: Vec<String>,
        tags: BTreeMap<String, String>,
        regions: Vec<String>,
        zones: Vec<String>,
    }
    /// `[scale_group]`.
    ScaleGroup {
        id: String,
        name: String,
        region: String,
        zone: String,
        desired: Option<u32>,
        min: Option<u32>,
        max: Option<u32>,
        on_demand: Option<u32>,
    }
    /// `[container]`.
    Container {
        cluster: String,
        service: String,
        region: String,
        task_count: Option<u32>,
    }
    /// `[database]`.
    Database {
        id: String,
        region: String,
    }
    /// `[http]`.
    Http {
        routing: Vec<Routing>,
        health: Option<Health>,
    }
    /// `[[http.routing]]`.
    Routing {
        source_protocol: HttpProtocol,
        source_port: Option<u16>,
        target_protocol: Option<HttpProtocol>,
        target_port: Option<u16>,
        action: Action,
        path: String,
        redirect_url: String,
    }
    /// `[http.health]`.
    Health {
        protocol: HealthProtocol,
        port: Option<u16>,
        path: String,
        timeout: Option<Span>,
        status_code_from: Option<u16>,
        status_code_to: Option<u16>,
    }
    /// `[tcp]`.
    Tcp {
        ssh: Option<Forward>,
        rdp: Option<Forward>,
        forward_rule: Vec<Forward>,
    }
    /// `[tcp.ssh]`, `[tcp.rdp]` and `[[tcp.forward_rule]]`.
    Forward {
        port: Option<u16>,
        connect_on: Option<u16>,
        protocol: Option<Preset>,
        proxy_protocol_in: bool,
    }
    /// `[[certificates]]`: secrets of the provider's store.
    InStore {
        cert_secret_id: String,
        key_secret_id: String,
    }
    /// `[hold]`.
    Hold {
        max_time: Option<Span>,
        max_clients: Option<u32>,
        max_bytes: Option<u64>,
    }
    /// `[[depends]]`.
    Depends {
        #[serde(alias = "rule_id")]
        rule: String,
        delay_in_sec: u64,
    }
    /// `[[schedule]]`.
    Schedule {
        name: String,
        #[serde(alias = "type")]
        schedule_type: ScheduleType,
        time_zone: String,
        starting_from: String,
        ending_on: String,
        days: Vec<String>,
        start_time: String,
        end_time: String,
        repeats: Option<Repeats>,
        priority: Option<u32>,
        force: bool,
    }
    /// `[schedule.repeats]`, another place for the same keys.
    Repeats {
        days: Vec<String>,
        start_time: String,
        end_time: String,
    }
    /// `[[exclusions]]` and `[[inclusions]]`.
    Match {
        path: String,
        user_agent: String,
        client: String,
    }
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $first:ident, $($word:ident),* })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[expect(missing_docs, reason = "the documented words")]
        pub enum $name { #[default] $first, $($word),* }
    )* };
}

words! {
    /// What kind of thing is started and stopped.
    Kind { Instance, Containers, Database, ScaleGroup, Clusters, K8s }
    /// How it is put to sleep.
    IdleAction { Shutdown, Hibernate }
    /// What an HTTP route speaks.
    HttpProtocol { Http, Https }
    /// What an HTTP route does.
    Action { Forward, Redirect }
    /// What a health check speaks.
    HealthProtocol { Http, Https, Tcp }
    /// How clients of a TCP port are told to wait, and what counts as activity.
    Preset { Tcp, Ssh, Rdp, Postgres, Mysql }
    /// What a schedule wants while it is in force.
    ScheduleType { Uptime, Downtime }
}

/// Reads one rule.
///
/// # Errors
/// The first problem of its shape; for a key that does not exist, with the one that was probably meant.
pub fn parse(file: &str, text: &str) -> Result<RuleFile, Problem> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let (key, message) = meant(error.message().trim());
        Problem { file: file.to_owned(), key, message: format!("{message} (line {line})") }
    })
}

/// Understands one rule that came as JSON. What is null counts as left out.
///
/// # Errors
/// As [`parse`].
pub fn from_json(file: &str, told: serde_json::Value) -> Result<RuleFile, Problem> {
    if let Some(key) = beyond_toml("", &told) {
        let message = format!("is more than {}, the greatest number of a rule's file", i64::MAX);
        return Err(Problem { file: file.to_owned(), key, message });
    }
    serde_json::from_value(told_things(told)).map_err(|error| {
        let (key, message) = meant(&error.to_string());
        Problem { file: file.to_owned(), key, message }
    })
}

/// The key of a number that a file of TOML cannot have.
fn beyond_toml(key: &str, told: &serde_json::Value) -> Option<String> {
    use serde_json::Value;
    let within = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
    match told {
        Value::Number(number) => (number.is_u64() && !number.is_i64()).then(|| key.to_owned()),
        Value::Object(table) => table.iter().find_map(|(name, value)| beyond_toml(&within(name), value)),
        Value::Array(all) => {
            all.iter().enumerate().find_map(|(at, value)| beyond_toml(&format!("{key}[{at}]"), value))
        }
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

fn told_things(told: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match told {
        Value::Object(table) => {
            let told = table.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(told.map(|(key, value)| (key, told_things(value))).collect())
        }
        Value::Array(all) => Value::Array(all.into_iter().map(told_things).collect()),
        other => other,
    }
}

/// The key that does not exist, if that is what the error says, and what to say of it.
fn meant(error: &str) -> (String, String) {
    let mut quoted = error.split('`').skip(1).step_by(2);
    let Some(unknown) = quoted.next().filter(|_| error.starts_with("unknown field")) else {
        return (String::new(), error.to_owned());
    };
    let meant = quoted
        .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
        .min()
        .filter(|(distance, _)| *distance * 3 <= unknown.len() + 2);
    let message = match meant {
        Some((_, known)) => format!("there is no such key; did you mean `{known}`?"),
        None => format!("there is no such key,{}", error.split_once(',').map_or("", |(_, rest)| rest)),
    };
    (unknown.to_owned(), message)
}

/// As a file of TOML has it, without what is as it would be anyway.
pub fn written(rule: &RuleFile) -> String {
    let table = |rule: &RuleFile| toml::Table::try_from(rule).unwrap_or_default();
    let usual = table(&RuleFile::default());
    let own: toml::Table =
        table(rule).into_iter().filter(|(key, value)| usual.get(key) != Some(value)).collect();
    own.to_string()
}
