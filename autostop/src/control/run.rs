//! The one task that owns every machine: inputs in, what the machines order carried out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use common::{drain::Drain, quiet::Quiet};
use jiff::Timestamp;
use tokio::{
    select,
    sync::{mpsc, oneshot},
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{
    call,
    link::Link,
    mind::{Deed, Mind},
    probe::{self, Check},
    record::{Kept, Record},
};
use crate::{
    config::Ports,
    idle::{Moment, Report},
    journal::Journal,
    ledger,
    machine::{CallId, Event, Now, Order, Outcome, Refusal},
    provider::batch::Caller,
    rule::{RuleId, Rules},
    wire::{self, attach_request, attach_response},
};

/// Inputs that are taken before the orders that follow from them are carried out: they share one sync.
const INPUTS_AT_ONCE: usize = 256;
/// Inputs that may wait.
const QUEUE: usize = 4096;
/// The journal is written anew when it has grown by so much beyond its last snapshot.
const ROTATE_BYTES: u64 = 16 << 20;
/// After a disk that did not take it, rules are taken up again.
const RETRY: Duration = Duration::from_secs(5);
/// Where the steady clock begins: long past, as the machines want it.
const LONG_PAST: Duration = Duration::from_hours(24 * 365);

/// Something that the control plane hears.
pub enum Input {
    /// A plane attached, by this link.
    Attached(Link),
    /// A link of a plane ended.
    Detached(Arc<str>, u64),
    /// A plane said something, by this link.
    Said(Arc<str>, u64, attach_request::Message),
    /// A provider answered.
    Answer(RuleId, CallId, Outcome),
    /// A health check succeeded.
    Ready(RuleId, u64),
    /// Somebody asked by hand.
    Asked(RuleId, Event, oneshot::Sender<Result<(), Refusal>>),
    /// A plane is gone for good.
    Forget(Arc<str>, oneshot::Sender<bool>),
    /// These rules are in force from now on.
    Rules(Box<Rules>),
    /// These certificates are.
    Certificates(Vec<wire::Certificate>),
    /// Somebody wants to look at it all.
    Look(Box<dyn FnOnce(&Asked<'_>) + Send>),
}

/// What there is to look at.
pub struct Asked<'a> {
    /// The time.
    pub now: Now,
    /// The machines.
    pub mind: &'a Mind,
    /// The past.
    pub kept: &'a Kept,
    /// The planes that are attached.
    pub links: &'a BTreeMap<Arc<str>, Linked>,
    /// The providers, by name.
    pub callers: &'a BTreeMap<String, Caller>,
    /// Why the journal cannot be written, while it cannot.
    pub trouble: Option<&'a str>,
}

/// A plane that is attached.
pub struct Linked {
    /// The link.
    pub link: Link,
    /// Since when.
    pub since: Timestamp,
    /// What it said last of each target.
    pub activity: BTreeMap<RuleId, wire::TargetActivity>,
    /// The ports on which it cannot listen, and why.
    pub deaf: Vec<wire::listening::Port>,
}

/// A handle on the running control plane.
#[derive(Clone)]
pub struct Control {
    inputs: mpsc::Sender<Input>,
}

impl Control {
    /// Tells it something.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn tell(&self, input: Input) -> anyhow::Result<()> {
        self.inputs.send(input).await.ok().context("the control plane has ended")
    }

    /// Asks something of a rule by hand.
    ///
    /// # Errors
    /// The outer one when it has ended, the inner one when it is refused.
    pub async fn ask(&self, rule: RuleId, event: Event) -> anyhow::Result<Result<(), Refusal>> {
        let (reply, answer) = oneshot::channel();
        self.tell(Input::Asked(rule, event, reply)).await?;
        answer.await.context("the control plane has ended")
    }

    /// Looks at it between two steps.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Asked<'_>) -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        let (reply, answer) = oneshot::channel();
        let look = Box::new(move |asked: &Asked<'_>| {
            // Whoever asked may have gone.
            reply.send(look(asked)).ok();
        });
        self.tell(Input::Look(look)).await?;
        answer.await.context("the control plane has ended")
    }
}

/// What the task is made of.
pub(super) struct Parts {
    pub(super) journal: Journal<Record>,
    pub(super) kept: Kept,
    pub(super) rules: Rules,
    pub(super) callers: BTreeMap<String, Caller>,
    pub(super) certificates: Vec<wire::Certificate>,
    pub(super) account_id: String,
    pub(super) tcp_ports: Ports,
    pub(super) drain: Drain,
}

pub(super) struct Run {
    mind: Mind,
    kept: Kept,
    journal: Option<Journal<Record>>,
    snapshot_bytes: u64,
    trouble: Option<String>,
    links: BTreeMap<Arc<str>, Linked>,
    callers: BTreeMap<String, Caller>,
    probes: BTreeMap<RuleId, (u64, CancellationToken)>,
    plan: wire::Plan,
    /// Rules that the disk did not take yet.
    waiting: Option<(Box<Rules>, Instant)>,
    tcp_ports: Ports,
    begun: Instant,
    drain: Drain,
    inputs: mpsc::Sender<Input>,
}

/// Makes the task; it is to be driven until the stop.
pub(super) fn prepare(parts: Parts, mind: Mind) -> (Control, impl Future<Output = anyhow::Result<()>>) {
    let (inputs, heard) = mpsc::channel(QUEUE);
    let run = Run {
        mind,
        snapshot_bytes: parts.journal.bytes(),
        kept: parts.kept,
        journal: Some(parts.journal),
        trouble: None,
        links: BTreeMap::new(),
        callers: parts.callers,
        probes: BTreeMap::new(),
        plan: wire::Plan {
            // Above every revision of the run before, as long as the wall clock was not set back.
            revision: u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default(),
            account_id: parts.account_id,
            certificates: parts.certificates,
            targets: Vec::new(),
        },
        waiting: Some((Box::new(parts.rules), Instant::now())),
        tcp_ports: parts.tcp_ports,
        begun: Instant::now(),
        drain: parts.drain,
        inputs: inputs.clone(),
    };
    (Control { inputs }, run.run(heard))
}

impl Run {
    async fn run(mut self, mut heard: mpsc::Receiver<Input>) -> anyhow::Result<()> {
        loop {
            let mut deeds = self.take_up_waiting().await;
            deeds.extend(self.mind.pass(self.now()));
            self.carry_out(deeds).await;
            let input = select! {
                biased;
                () = self.drain.started() => return Ok(()),
                input = heard.recv() => input.context("nobody is left to tell anything")?,
                () = time::sleep_until(self.deadline()) => continue,
            };
            let mut deeds = self.hear(input).await;
            for _ in 1..INPUTS_AT_ONCE {
                let Ok(input) = heard.try_recv() else { break };
                deeds.extend(self.hear(input).await);
            }
            self.carry_out(deeds).await;
        }
    }

    fn now(&self) -> Now {
        Now { steady: LONG_PAST + self.begun.elapsed(), wall: Timestamp::now(), luck: fastrand::f64() }
    }

    fn deadline(&self) -> Instant {
        let machines =
            self.mind.next_deadline(self.now()).map(|at: Moment| self.begun + at.saturating_sub(LONG_PAST));
        let rules = self.waiting.as_ref().map(|(_, at)| *at);
        let never = || Instant::now() + Duration::from_hours(1);
        [machines, rules].into_iter().flatten().min().unwrap_or_else(never)
    }

    async fn hear(&mut self, input: Input) -> Vec<Deed> {
        let now = self.now();
        match input {
            Input::Attached(link) => self.attached(link).await,
            Input::Detached(plane, id) => self.detached(&plane, id),
            Input::Said(plane, id, message) => {
                if self.links.get(&plane).is_some_and(|linked| linked.link.id == id) {
                    self.said(now, &plane, message)
                } else {
                    Vec::new()
                }
            }
            Input::Answer(rule, id, outcome) => self.mind.hear(now, &rule, Event::Answer(id, outcome)),
            Input::Ready(rule, number) => self.mind.hear(now, &rule, Event::Ready(number)),
            Input::Asked(rule, event, reply) => {
                let deeds = self.mind.hear(now, &rule, event);
                let refused = deeds.iter().find_map(|(_, order)| match order {
                    Order::Refuse(refusal) => Some(*refusal),
                    _ => None,
                });
                // Whoever asked may have gone.
                reply.send(refused.map_or(Ok(()), Err)).ok();
                deeds
            }
            Input::Forget(plane, reply) => {
                let is_away = self.kept.planes.contains(&plane) && !self.links.contains_key(&plane);
                let kept = is_away && self.keep(vec![Record::Forgotten(plane.to_string())]).await;
                reply.send(kept).ok();
                if kept { self.mind.plane(now, &Event::Forgotten(plane)) } else { Vec::new() }
            }
            Input::Rules(rules) => {
                self.waiting = Some((rules, Instant::now()));
                self.take_up_waiting().await
            }
            Input::Certificates(certificates) => {
                self.plan.certificates = certificates;
                self.tell_plan();
                Vec::new()
            }
            Input::Look(look) => {
                look(&Asked {
                    now,
                    mind: &self.mind,
                    kept: &self.kept,
                    links: &self.links,
                    callers: &self.callers,
                    trouble: self.trouble.as_deref(),
                });
                Vec::new()
            }
        }
    }

    /// Rules are in force once their ports are durable.
    async fn take_up_waiting(&mut self) -> Vec<Deed> {
        let Some((rules, at)) = self.waiting.take() else { return Vec::new() };
        if at > Instant::now() {
            self.waiting = Some((rules, at));
            return Vec::new();
        }
        let mut ports = self.kept.ports.clone();
        for none in ports.allot(&rules, &self.tcp_ports.iter()) {
            tracing::error!(rule = %none.rule, port = none.target_port, "no port is free; make tcpPorts wider");
        }
        if ports != self.kept.ports && !self.keep(vec![Record::Ports(ports)]).await {
            self.waiting = Some((rules, Instant::now() + RETRY));
            return Vec::new();
        }
        let attached: BTreeSet<_> = self.links.keys().cloned().collect();
        let deeds = self.mind.take_up(self.now(), *rules, &self.kept, &attached);
        self.plan.targets = self.mind.rules().iter().map(|rule| rule.target(&self.kept.ports)).collect();
        tracing::info!(rules = self.plan.targets.len(), "rules are in force");
        self.tell_plan();
        deeds
    }

    async fn attached(&mut self, link: Link) -> Vec<Deed> {
        let plane = Arc::clone(&link.plane);
        // It has to be known after a crash as well: it may carry connections that nobody else knows of.
        if !self.kept.planes.contains(&plane) && !self.keep(vec![Record::Plane(plane.to_string())]).await {
            return Vec::new();
        }
        tracing::info!(plane = %plane, version = link.version, "data plane attached");
        let (since, activity, deaf) = (Timestamp::now(), BTreeMap::new(), Vec::new());
        let before = self.links.insert(Arc::clone(&plane), Linked { link, since, activity, deaf });
        if let Some(before) = before {
            before.link.cut.cancel();
        }
        let deeds = self.mind.plane(self.now(), &Event::Attached(Arc::clone(&plane)));
        let now = self.now();
        let plan = attach_response::Message::Plan(self.plan.clone());
        let states = self.mind.rules().iter().filter_map(|rule| self.state_of(now, &rule.id));
        for message in [plan].into_iter().chain(states.collect::<Vec<_>>()) {
            self.send(&plane, message);
        }
        deeds
    }

    fn detached(&mut self, plane: &Arc<str>, id: u64) -> Vec<Deed> {
        if self.links.get(plane).is_none_or(|linked| linked.link.id != id) {
            return Vec::new();
        }
        tracing::warn!(plane = %plane, "data plane is away; its targets stay as they are until it is back");
        self.links.remove(plane);
        self.mind.plane(self.now(), &Event::Away(Arc::clone(plane)))
    }

    fn said(&mut self, now: Now, plane: &Arc<str>, message: attach_request::Message) -> Vec<Deed> {
        match message {
            attach_request::Message::Hello(_) => Vec::new(),
            attach_request::Message::Wake(wake) => {
                let who: Arc<str> = format!("{} ({})", wake.peer, words(&wake.protocol, &wake.detail)).into();
                self.by_name(&wake.rule_id, |mind, rule| mind.hear(now, rule, Event::Wake(who)))
            }
            attach_request::Message::Fenced(told) => {
                let report = Report {
                    open_connections: told.open_connections,
                    open_requests: told.open_requests,
                    parked: told.parked,
                    idle: Duration::from_millis(told.idle_ms),
                };
                let event = Event::Fenced(Arc::clone(plane), told.generation, report);
                self.by_name(&told.rule_id, |mind, rule| mind.hear(now, rule, event))
            }
            attach_request::Message::Listening(told) => {
                let deaf: Vec<_> = told.ports.into_iter().filter(|port| !port.error.is_empty()).collect();
                for port in &deaf {
                    tracing::warn!(plane = %plane, port = port.port, error = port.error, "port cannot be listened on");
                }
                if let Some(linked) = self.links.get_mut(plane) {
                    linked.deaf = deaf;
                }
                Vec::new()
            }
            attach_request::Message::Activity(told) => {
                let ids: Vec<_> = self.mind.rules().iter().map(|rule| rule.id.clone()).collect();
                let mut by_name: BTreeMap<_, _> =
                    told.targets.into_iter().map(|target| (target.rule_id.clone(), target)).collect();
                let mut deeds = Vec::new();
                let mut activity = BTreeMap::new();
                for id in ids {
                    let told = by_name.remove(id.as_str());
                    let report = told.as_ref().map(|told| Report {
                        open_connections: told.open_connections,
                        open_requests: told.open_requests,
                        parked: told.parked,
                        idle: Duration::from_millis(told.idle_ms),
                    });
                    deeds.extend(self.mind.hear(now, &id, Event::Activity(Arc::clone(plane), report)));
                    activity.extend(told.map(|told| (id, told)));
                }
                if let Some(linked) = self.links.get_mut(plane) {
                    linked.activity = activity;
                }
                deeds
            }
        }
    }

    fn by_name(&mut self, told: &str, hear: impl FnOnce(&mut Mind, &RuleId) -> Vec<Deed>) -> Vec<Deed> {
        // A plane may speak of a rule that was just removed.
        let rule = self.mind.rules().iter().map(|rule| &rule.id).find(|id| id.as_str() == told).cloned();
        rule.map_or_else(Vec::new, |rule| hear(&mut self.mind, &rule))
    }

    /// Makes what is to be durable so, all of it with one sync, then does the rest in order.
    async fn carry_out(&mut self, deeds: Vec<Deed>) {
        let mut records = Vec::new();
        let mut changed = BTreeSet::new();
        for (rule, order) in &deeds {
            if let Order::Journal(change) = order {
                records.push(Record::Change { rule: rule.clone(), change: change.clone() });
                changed.insert(rule.clone());
            }
        }
        for (rule, _) in &deeds {
            let told = self.mind.machine(rule).map(|(machine, _)| machine.addresses()).unwrap_or_default();
            let known = self.kept.rules.get(rule).map(|past| past.addresses.as_slice()).unwrap_or_default();
            if told != known {
                records.push(Record::Addresses { rule: rule.clone(), addresses: told.to_vec() });
            }
        }
        records.dedup();
        let kept = records.is_empty() || self.keep(records).await;
        for (rule, order) in deeds {
            match order {
                Order::Journal(change) => {
                    let why = change.why.to_string();
                    let (from, to) = (name(change.from), name(change.to));
                    tracing::info!(rule = %rule, from, to, why, dryRun = change.dry_run, "target is {to}");
                }
                // What was not made durable is not done; the machine finds out, as when an answer is lost.
                _ if !kept && changed.contains(&rule) => {}
                Order::Call { id, verb, within } => self.call(&rule, id, verb, within),
                Order::Tell => self.tell_state(&rule),
                Order::Probe(number) => self.probe(&rule, number),
                Order::WakeDependencies | Order::Refuse(_) => {}
            }
        }
        let mind = &self.mind;
        self.probes.retain(|rule, (number, end)| {
            let goes_on = mind.machine(rule).and_then(|(machine, _)| machine.probing()) == Some(*number);
            if !goes_on {
                end.cancel();
            }
            goes_on
        });
    }

    fn call(&self, rule: &RuleId, id: CallId, verb: crate::machine::Verb, within: Duration) {
        let Some(told) = self.mind.rules().get(rule) else { return };
        let caller = self.callers.get(&told.provider).cloned();
        let target = Arc::new(call::target(told));
        let (rule, inputs, drain) = (rule.clone(), self.inputs.clone(), self.drain.clone());
        tracing::debug!(rule = %rule, ?verb, "provider is called");
        self.drain.spawn(async move {
            let outcome = select! {
                outcome = call::call(caller, target, verb, within) => outcome,
                () = drain.started() => return,
            };
            if let Outcome::Failed(error) = &outcome {
                tracing::warn!(rule = %rule, ?verb, error, "provider failed");
            }
            // The loop ends only with the daemon.
            inputs.send(Input::Answer(rule, id, outcome)).await.ok();
        });
    }

    fn probe(&mut self, rule: &RuleId, number: u64) {
        let Some(told) = self.mind.rules().get(rule) else { return };
        let addresses = self.mind.machine(rule).map(|(machine, _)| machine.addresses().to_vec());
        let ready = probe::until_ready(Check::of(told), addresses.unwrap_or_default());
        let (id, inputs, drain) = (rule.clone(), self.inputs.clone(), self.drain.clone());
        let end = CancellationToken::new();
        let ended = end.clone();
        self.drain.spawn(async move {
            select! {
                () = ready => drop(inputs.send(Input::Ready(id, number)).await),
                () = ended.cancelled() => {}
                () = drain.started() => {}
            }
        });
        if let Some((_, before)) = self.probes.insert(rule.clone(), (number, end)) {
            before.cancel();
        }
    }

    fn state_of(&self, now: Now, rule: &RuleId) -> Option<attach_response::Message> {
        let (machine, _) = self.mind.machine(rule)?;
        let typical = self.kept.rules.get(rule).and_then(|past| ledger::typical_wake(&past.changes));
        Some(attach_response::Message::State(machine.target_state(rule.as_str(), now.steady, typical)))
    }

    fn tell_state(&mut self, rule: &RuleId) {
        let Some(state) = self.state_of(self.now(), rule) else { return };
        for plane in self.links.keys().cloned().collect::<Vec<_>>() {
            self.send(&plane, state.clone());
        }
    }

    fn tell_plan(&mut self) {
        self.plan.revision += 1;
        let plan = attach_response::Message::Plan(self.plan.clone());
        let now = self.now();
        let states: Vec<_> =
            self.mind.rules().iter().filter_map(|rule| self.state_of(now, &rule.id)).collect();
        for plane in self.links.keys().cloned().collect::<Vec<_>>() {
            self.send(&plane, plan.clone());
            states.iter().for_each(|state| self.send(&plane, state.clone()));
        }
    }

    /// A plane that does not read is let go: it comes back, and is told everything again.
    fn send(&mut self, plane: &Arc<str>, message: attach_response::Message) {
        let Some(linked) = self.links.get(plane) else { return };
        let told = wire::AttachResponse { message: Some(message) };
        if linked.link.sender.try_send(Ok(told)).is_err() {
            linked.link.cut.cancel();
        }
    }

    /// Makes records durable. When the disk does not take them, nothing is changed and nobody acts on them.
    async fn keep(&mut self, records: Vec<Record>) -> bool {
        let Some(mut journal) = self.journal.take() else { return false };
        let snapshot = (journal.bytes() > self.snapshot_bytes + ROTATE_BYTES).then(|| self.kept.records());
        let told = records.clone();
        let written = tokio::task::spawn_blocking(move || {
            if let Some(snapshot) = snapshot
                && let Err(error) = journal.rotate(&snapshot)
            {
                tracing::warn!(%error, "journal cannot be written anew, the old one goes on");
            }
            let written = journal.append(&told);
            (journal, written)
        })
        .await;
        let Ok((journal, written)) = written else { return false };
        if journal.bytes() < self.snapshot_bytes.saturating_add(ROTATE_BYTES) / 2 {
            self.snapshot_bytes = journal.bytes();
        }
        self.journal = Some(journal);
        match written {
            Ok(()) => {
                if self.trouble.take().is_some() {
                    tracing::info!("journal is written again");
                }
                records.into_iter().for_each(|record| self.kept.add(record));
                true
            }
            Err(error) => {
                static QUIET: Quiet = Quiet::new(Duration::from_secs(30));
                let error = format!("{:#}", anyhow::Error::from(error));
                if let Some(suppressed) = QUIET.speak(std::time::Instant::now()) {
                    tracing::error!(
                        error,
                        suppressed,
                        "journal cannot be written; nothing is started or stopped"
                    );
                }
                self.trouble = Some(error);
                false
            }
        }
    }
}

fn words(protocol: &str, detail: &str) -> String {
    if detail.is_empty() { protocol.to_owned() } else { format!("{protocol} {detail}") }
}

/// The documented name of a state.
pub(super) fn name(state: crate::machine::State) -> String {
    let told = serde_json::to_value(state).ok();
    told.and_then(|told| told.as_str().map(str::to_owned)).unwrap_or_default()
}
