//! The one task that owns every machine: inputs in, what the machines order carried out.

mod carry;
mod planes;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use common::drain::Drain;
use jiff::Timestamp;
use tokio::{
    select,
    sync::{mpsc, oneshot},
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{
    link::Link,
    mind::{Deed, Mind},
    record::{Kept, Record},
};
use crate::{
    config::Ports,
    idle::Moment,
    journal::Journal,
    machine::{CallId, Change, Event, Now, Order, Outcome, Refusal},
    provider::batch::Caller,
    rule::{RuleId, Rules},
    wire::{self, attach_request},
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
    /// Another proxy changed the states of its targets; answered once that is kept.
    Reported(Vec<(RuleId, Change)>, oneshot::Sender<bool>),
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
    let run = Run::new(parts, mind, inputs.clone());
    (Control { inputs }, run.run(heard))
}

impl Run {
    fn new(parts: Parts, mind: Mind, inputs: mpsc::Sender<Input>) -> Self {
        Self {
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
            inputs,
        }
    }

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
                if self.links.get(&plane).is_none_or(|linked| linked.link.id != id) {
                    return Vec::new();
                }
                match message {
                    attach_request::Message::Gone(gone) => self.gone(&plane, gone).await,
                    message => self.said(now, &plane, message),
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
            Input::Reported(changes, reply) => {
                let records = self.kept.news(changes);
                reply.send(records.is_empty() || self.keep(records).await).ok();
                Vec::new()
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
}

/// The documented name of a state.
pub(super) fn name(state: crate::machine::State) -> String {
    let told = serde_json::to_value(state).ok();
    told.and_then(|told| told.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of one record per step, each of which replaces the one before it.
    #[tokio::test]
    async fn the_journal_is_written_anew_when_it_has_grown_and_says_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(folder.path()).unwrap();
        let parts = Parts {
            journal,
            kept: Kept::default(),
            rules: Rules::default(),
            callers: BTreeMap::new(),
            certificates: Vec::new(),
            account_id: String::new(),
            tcp_ports: "56000-56999".parse().unwrap(),
            drain: Drain::default(),
        };
        let (inputs, _heard) = mpsc::channel(1);
        let mut run = Run::new(parts, Mind::new(BTreeSet::new(), crate::machine::Pace::default()), inputs);
        let addresses = |step: u64| vec![format!("{step} {}", "x".repeat(256 << 10))];
        let rule = RuleId::of("box");
        let (mut most, mut anew) = (0, 0);
        for step in 0..200 {
            let before = most;
            let record = Record::Addresses { rule: rule.clone(), addresses: addresses(step) };
            assert!(run.keep(vec![record]).await);
            most = run.journal.as_ref().unwrap().bytes();
            anew += u32::from(most < before);
            assert!(most < ROTATE_BYTES + (1 << 20), "{most} bytes");
        }
        assert_eq!(anew, 3, "it has grown to 50 MiB by a quarter each");
        let kept = run.kept.clone();
        drop(run);
        let (_, recovered) = Journal::<Record>::open(folder.path()).unwrap();
        let again: Kept = recovered.records.into_iter().collect();
        assert_eq!(again.rules.get(&rule).unwrap().addresses, addresses(199));
        assert!(again == kept, "what is kept is what is read again");
    }
}
