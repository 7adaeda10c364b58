//! What the planes say, and what they are told.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{Linked, Run};
use crate::{
    control::{
        link::Link,
        mind::{Deed, Mind},
        record::Record,
    },
    idle::Report,
    ledger,
    machine::{Event, Now},
    rule::RuleId,
    wire::{self, attach_request, attach_response},
};

impl Run {
    pub(super) async fn attached(&mut self, link: Link) -> Vec<Deed> {
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

    pub(super) fn detached(&mut self, plane: &Arc<str>, id: u64) -> Vec<Deed> {
        if self.links.get(plane).is_none_or(|linked| linked.link.id != id) {
            return Vec::new();
        }
        tracing::warn!(plane = %plane, "data plane is away; its targets stay as they are until it is back");
        self.links.remove(plane);
        self.mind.plane(self.now(), &Event::Away(Arc::clone(plane)))
    }

    /// One plane knows of another that it has ended. It is told again until the answer comes.
    pub(super) async fn gone(&mut self, plane: &Arc<str>, told: wire::Gone) -> Vec<Deed> {
        let name: Arc<str> = told.plane.as_str().into();
        if name == *plane {
            return Vec::new();
        }
        let mut deeds = Vec::new();
        if let Some(linked) = self.links.remove(&name) {
            linked.link.cut.cancel();
            deeds = self.mind.plane(self.now(), &Event::Away(Arc::clone(&name)));
        }
        if self.kept.planes.contains(&name) {
            if !self.keep(vec![Record::Forgotten(name.to_string())]).await {
                return deeds;
            }
            tracing::info!(plane = %name, "data plane has ended, and is forgotten");
            deeds.extend(self.mind.plane(self.now(), &Event::Forgotten(name)));
        }
        self.send(plane, attach_response::Message::Gone(told));
        deeds
    }

    pub(super) fn said(&mut self, now: Now, plane: &Arc<str>, message: attach_request::Message) -> Vec<Deed> {
        match message {
            attach_request::Message::Hello(_) | attach_request::Message::Gone(_) => Vec::new(),
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

    pub(super) fn by_name(
        &mut self,
        told: &str,
        hear: impl FnOnce(&mut Mind, &RuleId) -> Vec<Deed>,
    ) -> Vec<Deed> {
        // A plane may speak of a rule that was just removed.
        let rule = self.mind.rules().iter().map(|rule| &rule.id).find(|id| id.as_str() == told).cloned();
        rule.map_or_else(Vec::new, |rule| hear(&mut self.mind, &rule))
    }

    pub(super) fn state_of(&self, now: Now, rule: &RuleId) -> Option<attach_response::Message> {
        let (machine, _) = self.mind.machine(rule)?;
        let typical = self.kept.rules.get(rule).and_then(|past| ledger::typical_wake(&past.changes));
        Some(attach_response::Message::State(machine.target_state(rule.as_str(), now.steady, typical)))
    }

    pub(super) fn tell_state(&mut self, rule: &RuleId) {
        let Some(state) = self.state_of(self.now(), rule) else { return };
        for plane in self.links.keys().cloned().collect::<Vec<_>>() {
            self.send(&plane, state.clone());
        }
    }

    pub(super) fn tell_plan(&mut self) {
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
    pub(super) fn send(&mut self, plane: &Arc<str>, message: attach_response::Message) {
        let Some(linked) = self.links.get(plane) else { return };
        let told = wire::AttachResponse { message: Some(message) };
        if linked.link.sender.try_send(Ok(told)).is_err() {
            linked.link.cut.cancel();
        }
    }
}

fn words(protocol: &str, detail: &str) -> String {
    if detail.is_empty() { protocol.to_owned() } else { format!("{protocol} {detail}") }
}
