//! Many questions at nearly the same time go to the provider as one.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::oneshot, time};

use super::Shared;
use crate::provider::{Error, Fault, Params, Seen, Sightings, Target};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Question {
    Status,
    Describe,
}

impl Question {
    fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Describe => "describe",
        }
    }
}

/// Those who wait for the next call, by what can go into one call. While there is an entry, a task sees to it.
#[derive(Default)]
pub(super) struct Gather {
    waiting: Mutex<HashMap<Group, Vec<Waiter>>>,
}

/// What questions must have in common to be asked as one.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Group {
    question: Question,
    kind: String,
    params: Params,
}

struct Waiter {
    ids: Vec<String>,
    answer: oneshot::Sender<Result<Sightings, Error>>,
}

fn waiting(shared: &Shared) -> MutexGuard<'_, HashMap<Group, Vec<Waiter>>> {
    shared.gather.waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks, together with others.
pub(super) async fn ask(
    shared: &Arc<Shared>,
    question: Question,
    target: &Target,
) -> Result<Sightings, Error> {
    let (answer, answered) = oneshot::channel();
    let group = Group { question, kind: target.kind.clone(), params: target.params.clone() };
    let waiter = Waiter { ids: target.ids.clone(), answer };
    let first = {
        let mut waiting = waiting(shared);
        let first = !waiting.contains_key(&group);
        waiting.entry(group.clone()).or_default().push(waiter);
        first
    };
    if first {
        let errand = Errand { shared: Arc::clone(shared), group, finished: false };
        shared.drain.spawn(async move { errand.run().await });
    }
    answered.await.unwrap_or_else(|_| Err(Fault::Interrupted.said("the call did not come to its end")))
}

/// Sees to one group until nobody waits. However it ends, with a panic too, nobody is left waiting.
struct Errand {
    shared: Arc<Shared>,
    group: Group,
    /// The entry is gone already, and may be somebody else's by now.
    finished: bool,
}

impl Drop for Errand {
    fn drop(&mut self) {
        if !self.finished {
            waiting(&self.shared).remove(&self.group);
        }
    }
}

impl Errand {
    async fn run(mut self) {
        loop {
            time::sleep(self.shared.calls.window).await;
            let Some(waiters) = self.take() else { return };
            self.ask(waiters).await;
        }
    }

    /// Those who wait; without any, the entry goes, under the same lock that others come in by.
    fn take(&mut self) -> Option<Vec<Waiter>> {
        let mut waiting = waiting(&self.shared);
        let waiters = std::mem::take(waiting.get_mut(&self.group)?);
        if waiters.is_empty() {
            waiting.remove(&self.group);
            self.finished = true;
            return None;
        }
        Some(waiters)
    }

    async fn ask(&self, waiters: Vec<Waiter>) {
        let ids: BTreeSet<_> = waiters.iter().flat_map(|waiter| waiter.ids.iter().cloned()).collect();
        let together = self.call(ids.into_iter().collect()).await;
        // One id that the provider cannot stand must not make it blind for the others.
        let spoiled = waiters.len() > 1 && matches!(&together, Err(error) if one_may_have_spoiled_it(error));
        for waiter in waiters {
            let answer = if spoiled { self.call(waiter.ids.clone()).await } else { together.clone() };
            let answer = answer.map(|seen| only(&waiter.ids, &seen));
            // Who went away does not hear it.
            waiter.answer.send(answer).ok();
        }
    }

    async fn call(&self, ids: Vec<String>) -> Result<Sightings, Error> {
        let shared = &self.shared;
        let deadline = shared.deadline();
        let mut seen = Sightings::new();
        for part in ids.chunks(shared.provider.most_ids().max(1)) {
            let (kind, params) = (self.group.kind.clone(), self.group.params.clone());
            let target = Target { kind, ids: part.to_vec(), params };
            let call = || match self.group.question {
                Question::Status => shared.provider.status(&target, deadline),
                Question::Describe => shared.provider.describe(&target, deadline),
            };
            seen.extend(shared.call(self.group.question.name(), deadline, call).await?);
        }
        Ok(seen)
    }
}

fn one_may_have_spoiled_it(error: &Error) -> bool {
    matches!(error.fault, Fault::Gone | Fault::Denied | Fault::Other | Fault::Busy)
}

/// What was asked for and nothing else, every one of it.
fn only(ids: &[String], seen: &Sightings) -> Sightings {
    let seen =
        |id: &String| seen.get(id).cloned().unwrap_or_else(|| Seen::unknown("the provider left it out"));
    ids.iter().map(|id| (id.clone(), seen(id))).collect()
}
