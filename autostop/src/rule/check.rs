//! Pure. From rules as written to rules that hold together, with every problem told at once.

use std::collections::{BTreeMap, btree_map::Entry};
use std::{sync::Arc, time::Duration};

use super::{
    Dependency, Hold, Problem, Rule, RuleFile, RuleId, Rules, Surroundings,
    file::{Kind, Span},
    network, params, windows,
};
use crate::depends::Graph;

const IDLE_TIME: Duration = Duration::from_mins(15);
const MIN_ONLINE: Duration = Duration::from_mins(1);
const START_TIMEOUT: Duration = Duration::from_mins(5);
const STOP_TIMEOUT: Duration = Duration::from_mins(5);
const WAKE_GRACE: Duration = Duration::from_millis(300);
const HOLD_CLIENTS: u32 = 10_000;
const HOLD_BYTES: u64 = 64 << 20;
/// Nothing waits longer; far below where sums of such times would overflow.
const LONGEST: Duration = Duration::from_hours(24 * 3653);

/// Where the problems of one file are gathered.
pub(super) struct Desk<'a> {
    pub(super) file: &'a str,
    pub(super) problems: &'a mut Vec<Problem>,
}

impl Desk<'_> {
    pub(super) fn problem(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(Problem {
            file: self.file.to_owned(),
            key: key.to_owned(),
            message: message.into(),
        });
    }

    pub(super) fn span(&mut self, key: &str, span: Option<&Span>, default: Duration) -> Duration {
        let span = match span {
            None => default,
            Some(Span::Seconds(seconds)) => Duration::from_secs(*seconds),
            Some(Span::Text(text)) => humantime::parse_duration(text).unwrap_or_else(|_| {
                self.problem(
                    key,
                    format!("`{text}` is no duration; write it as \"90s\", \"15m\" or \"1h 30m\""),
                );
                default
            }),
        };
        self.bounded(key, span)
    }

    fn bounded(&mut self, key: &str, span: Duration) -> Duration {
        if span > LONGEST {
            self.problem(key, "is longer than ten years");
        }
        span.min(LONGEST)
    }

    pub(super) fn not_zero<T: Default + PartialEq + Copy>(
        &mut self,
        key: &str,
        told: Option<T>,
        default: T,
    ) -> T {
        if told == Some(T::default()) {
            self.problem(key, "must not be zero");
        }
        told.unwrap_or(default)
    }
}

/// Checks all rules together. Each comes with the name of its file, or of whatever else gave it.
///
/// # Errors
/// Every problem of every rule, in the order of the files.
pub fn check(files: &[(String, RuleFile)], around: &Surroundings) -> Result<Rules, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut rules = BTreeMap::new();
    let mut homes: BTreeMap<RuleId, &str> = BTreeMap::new();
    for (file, written) in files {
        let rule = one(&mut Desk { file, problems: &mut problems }, written, around);
        match homes.entry(rule.id.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(file);
                rules.insert(rule.id.clone(), rule);
            }
            Entry::Occupied(first) => Desk { file, problems: &mut problems }.problem(
                "name",
                format!("`{}` is also the name of the rule in {}; rename one", rule.name, first.get()),
            ),
        }
    }
    let edges: Vec<_> = rules
        .values()
        .flat_map(|rule| rule.depends.iter().map(|on| (rule.id.clone(), on.rule.clone())))
        .collect();
    for rule in rules.values() {
        let mut desk =
            Desk { file: homes.get(&rule.id).copied().unwrap_or_default(), problems: &mut problems };
        for (at, on) in rule.depends.iter().enumerate() {
            if !rules.contains_key(&on.rule) {
                desk.problem(
                    &format!("depends[{at}].rule"),
                    format!("there is no rule `{}`{}", on.rule, meant(on.rule.as_str(), rules.keys())),
                );
            }
        }
    }
    let graph = Graph::new(edges);
    if let Some(cycle) = graph.cycle()
        && let Some(first) = cycle.first()
    {
        let names: Vec<_> = cycle.iter().chain([first]).map(RuleId::as_str).collect();
        let mut desk = Desk { file: homes.get(first).copied().unwrap_or_default(), problems: &mut problems };
        desk.problem(
            "depends",
            format!("the rules wait for each other: {}; break the circle", names.join(" → ")),
        );
    }
    network::clashes(&rules, &homes, &mut problems);
    let rules = rules.into_iter().map(|(id, rule)| (id, Arc::new(rule))).collect();
    if problems.is_empty() { Ok(Rules { rules, graph }) } else { Err(problems) }
}

fn meant<'a>(unknown: &str, known: impl Iterator<Item = &'a RuleId>) -> String {
    known
        .map(|known| (strsim::damerau_levenshtein(unknown, known.as_str()), known))
        .min()
        .filter(|(distance, _)| *distance * 3 <= unknown.len() + 2)
        .map_or_else(String::new, |(_, known)| format!("; did you mean `{known}`?"))
}

fn certificates(desk: &mut Desk<'_>, file: &RuleFile) -> Vec<(String, String)> {
    for (at, told) in file.certificates.iter().enumerate() {
        for (name, id) in [("cert_secret_id", &told.cert_secret_id), ("key_secret_id", &told.key_secret_id)] {
            if id.is_empty() {
                desk.problem(&format!("certificates[{at}].{name}"), "is missing");
            }
        }
    }
    file.certificates.iter().map(|told| (told.cert_secret_id.clone(), told.key_secret_id.clone())).collect()
}

fn one(desk: &mut Desk<'_>, file: &RuleFile, around: &Surroundings) -> Rule {
    if file.name.trim().is_empty() {
        desk.problem("name", "is missing; every rule needs one of its own");
    }
    if !around.providers.contains(&file.provider) {
        desk.problem(
            "provider",
            format!(
                "there is no provider `{}`; configured are: {}",
                file.provider,
                if around.providers.is_empty() { "none".to_owned() } else { around.providers.join(", ") }
            ),
        );
    }
    if let (Some(_), Some(_)) = (&file.idle_time_mins, &file.idle_time) {
        desk.problem("idle_time", "is given twice; keep either it or `idle_time_mins`");
    }
    let minutes = file.idle_time_mins.map_or(IDLE_TIME, |mins| Duration::from_secs(mins.saturating_mul(60)));
    let minutes = desk.bounded("idle_time_mins", minutes);
    let idle_time = desk.span("idle_time", file.idle_time.as_ref(), minutes);
    if idle_time.is_zero() {
        desk.problem("idle_time", "must not be zero");
    }
    let timeout = |desk: &mut Desk<'_>, key, span: &Option<Span>, default| {
        let time = desk.span(key, span.as_ref(), default);
        if time.is_zero() {
            desk.problem(key, "must not be zero");
        }
        time
    };
    let start_timeout = timeout(desk, "start_timeout", &file.start_timeout, START_TIMEOUT);
    let stop_timeout = timeout(desk, "stop_timeout", &file.stop_timeout, STOP_TIMEOUT);
    if file.price_per_hour.is_some_and(|price| !price.is_finite() || price < 0.0) {
        desk.problem("price_per_hour", "must be a number that is not below zero");
    }
    let rule = Rule {
        id: RuleId::of(&file.name),
        name: file.name.clone(),
        kind: file.kind,
        provider: file.provider.clone(),
        filter: file.filter.clone(),
        scale_group: file.scale_group.clone(),
        container: file.container.clone(),
        database: file.database.clone(),
        params: params::params(desk, &file.params),
        idle_action: file.idle_action,
        idle_time,
        min_online: desk.span("min_online", file.min_online.as_ref(), MIN_ONLINE),
        start_timeout,
        stop_timeout,
        wake_grace: desk.span("wake_grace", file.wake_grace.as_ref(), WAKE_GRACE),
        domains: network::domains(desk, file),
        certificates: certificates(desk, file),
        http: network::routes(desk, &file.http.routing),
        health: file.http.health.as_ref().map(|health| network::health(desk, health, &file.http.routing)),
        tcp: network::tcp(desk, &file.tcp, &around.tcp_ports),
        depends: file
            .depends
            .iter()
            .enumerate()
            .map(|(at, on)| Dependency {
                rule: RuleId::of(&on.rule),
                delay: desk
                    .bounded(&format!("depends[{at}].delay_in_sec"), Duration::from_secs(on.delay_in_sec)),
            })
            .collect(),
        schedules: windows::schedules(desk, &file.schedule),
        hide_progress_page: file.hide_progress_page,
        dry_run: file.dry_run,
        on_external_change: file.on_external_change,
        stop_under_keepalives: file.stop_under_keepalives,
        exclusions: network::matches(desk, "exclusions", &file.exclusions),
        inclusions: network::matches(desk, "inclusions", &file.inclusions),
        wakers: network::blocks(desk, "wakers", &file.wakers),
        hold: Hold {
            max_time: desk.span("hold.max_time", file.hold.max_time.as_ref(), start_timeout),
            max_clients: desk.not_zero("hold.max_clients", file.hold.max_clients, HOLD_CLIENTS),
            max_bytes: desk.not_zero("hold.max_bytes", file.hold.max_bytes, HOLD_BYTES),
        },
        proxy_protocol_out: file.proxy_protocol_out,
        price_per_hour: file.price_per_hour,
    };
    if file.proxy_protocol_out > 2 {
        desk.problem("proxy_protocol_out", "must be 0 (none), 1 or 2");
    }
    let chosen = rule.resource_ids().any(|id| !id.is_empty()) || !rule.filter.tags.is_empty();
    if !chosen {
        let key = match file.kind {
            Kind::Database => "database.id",
            Kind::ScaleGroup => "scale_group.id",
            Kind::Containers => "container.service",
            Kind::Instance | Kind::Clusters | Kind::K8s => "filter.vm_ids",
        };
        desk.problem(key, "is missing; the rule does not say what it minds");
    }
    if !rule.filter.tags.is_empty() && rule.resource_ids().any(|id| !id.is_empty()) {
        desk.problem("filter.tags", "and ids are given; keep one of them");
    }
    rule
}
