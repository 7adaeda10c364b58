//! What the machines order, done in order: first made durable, then called, told and probed.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use common::quiet::Quiet;
use tokio::select;
use tokio_util::sync::CancellationToken;

use super::{Input, ROTATE_BYTES, Run, name};
use crate::{
    control::{call, mind::Deed, probe, record::Record},
    machine::{CallId, Order, Outcome, Verb},
    rule::RuleId,
};

impl Run {
    /// Makes what is to be durable so, all of it with one sync, then does the rest in order.
    pub(super) async fn carry_out(&mut self, deeds: Vec<Deed>) {
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

    pub(super) fn call(&self, rule: &RuleId, id: CallId, verb: Verb, within: Duration) {
        let Some(told) = self.mind.rules().get(rule) else { return };
        let caller = self.callers.get(&told.provider).cloned();
        let (target, how) = (Arc::new(call::target(told)), call::how(told));
        let (rule, inputs, drain) = (rule.clone(), self.inputs.clone(), self.drain.clone());
        tracing::debug!(rule = %rule, ?verb, "provider is called");
        self.drain.spawn(async move {
            let outcome = select! {
                outcome = call::call(caller, target, verb, how, within) => outcome,
                () = drain.started() => return,
            };
            if let Outcome::Failed(error) = &outcome {
                tracing::warn!(rule = %rule, ?verb, error, "provider failed");
            }
            // The loop ends only with the daemon.
            inputs.send(Input::Answer(rule, id, outcome)).await.ok();
        });
    }

    pub(super) fn probe(&mut self, rule: &RuleId, number: u64) {
        let Some(told) = self.mind.rules().get(rule) else { return };
        let addresses = self.mind.machine(rule).map(|(machine, _)| machine.addresses().to_vec());
        let ready = probe::until_ready(probe::check(told), addresses.unwrap_or_default());
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

    /// Makes records durable. When the disk does not take them, nothing is changed and nobody acts on them.
    pub(super) async fn keep(&mut self, records: Vec<Record>) -> bool {
        let Some(mut journal) = self.journal.take() else { return false };
        let snapshot = (journal.bytes() > self.snapshot_bytes + ROTATE_BYTES).then(|| self.kept.records());
        let told = records.clone();
        let written = tokio::task::spawn_blocking(move || {
            let rotated = snapshot.map(|snapshot| journal.rotate(&snapshot));
            if let Some(Err(error)) = &rotated {
                tracing::warn!(%error, "journal cannot be written anew, the old one goes on");
            }
            let snapshot_bytes = matches!(rotated, Some(Ok(()))).then(|| journal.bytes());
            let written = journal.append(&told);
            (journal, snapshot_bytes, written)
        })
        .await;
        let Ok((journal, snapshot_bytes, written)) = written else {
            // The panic was told by its hook; without a journal nothing is started or stopped any more.
            self.trouble = Some("writing it failed; restart lw_proxy".to_owned());
            return false;
        };
        self.snapshot_bytes = snapshot_bytes.unwrap_or(self.snapshot_bytes);
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
