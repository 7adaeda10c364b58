//! A provider that is a child process and speaks JSON lines (docs/autostop-providers.md).

mod lines;
mod session;
mod wire;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use common::{backoff::Backoff, drain::Drain};
use tokio::{
    sync::{mpsc, oneshot},
    time::{self, Instant},
};

use self::session::{End, Session};
use super::{Error, Fault, Provider, Secrets, Sightings, Stop, Target, options};

/// The wait before the child is started again, at first and at most.
const RESTART_WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// How many calls may wait for the child to read them.
const MOST_WAITING: usize = 256;

/// What the child is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Start,
    Stop(Stop),
    Status,
    Describe,
    Secret,
}

/// What the child answered: how things are, or what secrets say.
#[derive(Debug, Default)]
struct Reply {
    seen: Sightings,
    secrets: Secrets,
}

/// One call on its way to the child.
struct Call {
    op: Op,
    target: Target,
    deadline: Instant,
    answer: oneshot::Sender<Result<Reply, Error>>,
}

/// The provider. The child is started by the first call.
pub struct Plugin {
    keeper: Arc<Keeper>,
    calls: OnceLock<mpsc::Sender<Call>>,
}

/// What is known of the child between its lives.
struct Keeper {
    name: String,
    options: options::Plugin,
    drain: Drain,
    /// What the child said of itself.
    most_ids: AtomicUsize,
    dropped_lines: AtomicU64,
}

impl Plugin {
    /// With this command. Nothing is started yet.
    pub fn new(name: &str, options: options::Plugin, drain: &Drain) -> Self {
        let most_ids = AtomicUsize::new(wire::MOST_IDS);
        let keeper = Keeper {
            name: name.to_owned(),
            options,
            drain: drain.clone(),
            most_ids,
            dropped_lines: AtomicU64::new(0),
        };
        Self { keeper: Arc::new(keeper), calls: OnceLock::new() }
    }

    async fn call(&self, op: Op, target: &Target, deadline: Instant) -> Result<Reply, Error> {
        let calls = self.calls.get_or_init(|| {
            let (calls, waiting) = mpsc::channel(MOST_WAITING);
            self.keeper.drain.spawn(Arc::clone(&self.keeper).keep(waiting));
            calls
        });
        let (answer, answered) = oneshot::channel();
        let call = Call { op, target: target.clone(), deadline, answer };
        calls
            .try_send(call)
            .map_err(|_| Fault::Unreachable.said("the plug-in is behind, or has been stopped"))?;
        answered.await.unwrap_or_else(|_| Err(Fault::Interrupted.said("the plug-in was ended")))
    }
}

#[async_trait]
impl Provider for Plugin {
    async fn start(&self, target: &Target, deadline: Instant) -> Result<(), Error> {
        self.call(Op::Start, target, deadline).await.map(drop)
    }

    async fn stop(&self, target: &Target, how: Stop, deadline: Instant) -> Result<(), Error> {
        self.call(Op::Stop(how), target, deadline).await.map(drop)
    }

    async fn status(&self, target: &Target, deadline: Instant) -> Result<Sightings, Error> {
        self.call(Op::Status, target, deadline).await.map(|reply| reply.seen)
    }

    async fn describe(&self, target: &Target, deadline: Instant) -> Result<Sightings, Error> {
        self.call(Op::Describe, target, deadline).await.map(|reply| reply.seen)
    }

    async fn secrets(&self, ids: &[String], deadline: Instant) -> Result<Secrets, Error> {
        let target = Target { kind: "secret".to_owned(), ids: ids.to_vec(), ..Target::default() };
        let mut told = self.call(Op::Secret, &target, deadline).await?.secrets;
        let missing = || Err(Fault::Unsupported.said("the plug-in did not tell it"));
        Ok(ids.iter().map(|id| (id.clone(), told.remove(id).unwrap_or_else(missing))).collect())
    }

    fn dropped_lines(&self) -> u64 {
        self.keeper.dropped_lines.load(Ordering::Relaxed)
    }

    fn most_ids(&self) -> usize {
        self.keeper.most_ids.load(Ordering::Relaxed)
    }
}

impl Keeper {
    /// Starts the child, and starts it again, until the stop.
    async fn keep(self: Arc<Self>, mut calls: mpsc::Receiver<Call>) {
        let mut backoff = Backoff::new(RESTART_WAITS.0, RESTART_WAITS.1);
        loop {
            let why = match Session::open(&self, &mut calls).await {
                Ok(mut session) => {
                    let ended = session.serve(&mut calls).await;
                    if session.was_useful() {
                        backoff.reset();
                    }
                    session.close(&ended).await;
                    match ended {
                        End::Stopped => return,
                        End::Broken(why) => why,
                    }
                }
                Err(End::Stopped) => return,
                Err(End::Broken(why)) => why,
            };
            let wait = backoff.wait(fastrand::f64());
            tracing::warn!(provider = self.name, why, ?wait, "plug-in ended, it is started again");
            if !self.rest(&mut calls, Instant::now() + wait, &why).await {
                return;
            }
        }
    }

    /// Waits until the child may be started again; who calls meanwhile is told at once. False: do not start it.
    async fn rest(&self, calls: &mut mpsc::Receiver<Call>, until: Instant, why: &str) -> bool {
        loop {
            tokio::select! {
                () = self.drain.started() => return false,
                () = time::sleep_until(until) => return true,
                call = calls.recv() => match call {
                    // Who went away does not hear it.
                    Some(call) => drop(call.answer.send(Err(Fault::Unreachable.said(why)))),
                    None => return false,
                },
            }
        }
    }
}

/// See [`crate::attack::plugin`].
pub(crate) fn attack(line: &str) {
    for op in [Op::Start, Op::Status, Op::Secret] {
        let Some(answer) = wire::answer(line) else { return };
        let Ok(reply) = answer.outcome(op) else { continue };
        for seen in reply.seen.values() {
            assert!(seen.addresses.iter().all(|address| address.is_ascii()), "an address that is none");
            let reason = seen.reason.as_deref().unwrap_or_default();
            assert!(reason.chars().count() < 400 && !reason.contains('\n'), "a reason that is no line");
        }
        for secret in reply.secrets.values().flatten().map(common::config::Secret::expose) {
            assert!(secret.len() < 20 || !format!("{reply:?}").contains(secret), "a secret is printed");
        }
    }
}

#[cfg(test)]
mod tests;
