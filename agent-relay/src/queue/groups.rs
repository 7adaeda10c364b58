//! The thread that writes: takes what came while the disk was busy as one group, and answers everybody in it.

use std::{
    io,
    sync::{Weak, atomic::Ordering, mpsc},
    thread,
    time::{Duration, Instant},
};

use common::quiet::Quiet;
use tokio::sync::oneshot;

use super::{
    Queue, Quota, Refusal, SETTLE,
    writer::{Incoming, Writer},
};

/// How much is written at once at most, beside one body that is larger.
const GROUP_BYTES: u64 = 4 << 20;
const GROUP_RECORDS: usize = 1024;
/// With so much a group is worth its sync: of what is written anew with each, the last page, little is lost.
const WORTH_BYTES: u64 = 128 << 10;
/// How long a smaller group waits for more, and for how long it does so while more keeps coming.
const MORE: Duration = Duration::from_millis(1);
const MORE_IN_ALL: Duration = Duration::from_millis(20);
/// How long a failed disk is left alone.
const HEAL: Duration = Duration::from_millis(500);

/// What the thread is asked for.
pub(super) enum Order {
    Keep(Incoming, oneshot::Sender<Result<(), Refusal>>),
    Settle(Option<oneshot::Sender<()>>),
    Limit(Quota),
}

/// What came while the disk was busy.
#[derive(Default)]
struct Batch {
    group: Vec<Incoming>,
    answers: Vec<oneshot::Sender<Result<(), Refusal>>>,
    settlers: Vec<oneshot::Sender<()>>,
    settle: bool,
}

/// Writes until nobody is left who could ask.
pub(super) fn write(
    mut writer: Writer,
    inbox: &mpsc::Receiver<Order>,
    mut quota: Quota,
    queue: &Weak<Queue>,
) {
    let mut settled = Instant::now();
    let mut failed: Option<Instant> = None;
    loop {
        let mut batch = Batch::default();
        let mut bytes = 0;
        let mut order = match inbox.recv_timeout(SETTLE.saturating_sub(settled.elapsed())) {
            Ok(order) => Some(order),
            Err(mpsc::RecvTimeoutError::Timeout) => None,
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        };
        let begun = Instant::now();
        let mut looked = 0;
        while let Some(taken) = order {
            match taken {
                Order::Keep(incoming, answer) => {
                    bytes += incoming.body.len() + incoming.head.len() as u64;
                    batch.group.push(incoming);
                    batch.answers.push(answer);
                }
                Order::Settle(answer) => {
                    batch.settlers.extend(answer);
                    batch.settle = true;
                }
                Order::Limit(other) => quota = other,
            }
            let more = bytes < GROUP_BYTES && batch.group.len() < GROUP_RECORDS;
            order = if more { inbox.try_recv().ok() } else { None };
            // Waiting for one order after the other would wake this thread for each.
            while order.is_none()
                && more
                && !batch.settle
                && (1..WORTH_BYTES).contains(&bytes)
                && batch.group.len() > std::mem::replace(&mut looked, batch.group.len())
                && begun.elapsed() < MORE_IN_ALL
            {
                thread::sleep(MORE);
                order = inbox.try_recv().ok();
            }
        }
        let Batch { group, answers, settlers, settle } = batch;
        if !group.is_empty() {
            let agents = keep_group(&mut writer, group, answers, quota, &mut failed);
            if let Some(queue) = queue.upgrade() {
                queue.tell(&agents);
            }
        }
        if settled.elapsed() >= SETTLE || settle {
            let written = writer.settle();
            if let Some(queue) = queue.upgrade() {
                queue.unsettling.store(written.is_err(), Ordering::Relaxed);
                queue.settling.store(false, Ordering::Relaxed);
                if settle {
                    queue.arrived.notify_waiters();
                }
            }
            static QUIET: Quiet = Quiet::new(Duration::from_secs(10));
            if let Err(error) = written
                && let Some(suppressed) = QUIET.speak(Instant::now())
            {
                tracing::warn!(%error, suppressed, "what is delivered was not written down; it may be sent twice");
            }
            settled = Instant::now();
            for answer in settlers {
                answer.send(()).ok();
            }
        }
    }
}

/// Keeps what may be kept of a group, and answers everybody. Returns whose records came in.
fn keep_group(
    writer: &mut Writer,
    group: Vec<Incoming>,
    answers: Vec<oneshot::Sender<Result<(), Refusal>>>,
    quota: Quota,
    failed: &mut Option<Instant>,
) -> Vec<u32> {
    let refused = writer.refusals(&group, quota);
    let mut kept = Vec::new();
    let mut waiting = Vec::new();
    for ((incoming, answer), refusal) in group.into_iter().zip(answers).zip(refused) {
        match refusal {
            Some(refusal) => {
                answer.send(Err(refusal)).ok();
            }
            None => {
                kept.push(incoming);
                waiting.push(answer);
            }
        }
    }
    let rests = failed.is_some_and(|when| when.elapsed() < HEAL);
    let written = match kept.len() {
        0 => Ok(Vec::new()),
        _ if rests => Err(io::ErrorKind::ResourceBusy.into()),
        _ => writer.append(&kept),
    };
    drop(kept);
    match written {
        Ok(agents) => {
            if !agents.is_empty() && failed.take().is_some() {
                tracing::info!("the disk takes data again");
            }
            for answer in waiting {
                answer.send(Ok(())).ok();
            }
            agents
        }
        Err(error) => {
            if failed.is_none() {
                tracing::error!(%error, "the disk does not take data; agents are asked to keep theirs");
            }
            if !rests {
                *failed = Some(Instant::now());
            }
            for answer in waiting {
                answer.send(Err(Refusal::Disk)).ok();
            }
            Vec::new()
        }
    }
}
