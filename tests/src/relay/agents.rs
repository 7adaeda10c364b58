//! Agents that post to agent-relay whatever happens, and what must have come of it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{Receiver, post};

/// Agents that post as fast as they can until told to stop; each keeps a body until it is accepted.
pub struct Agents {
    stop: Arc<AtomicBool>,
    rest: Arc<AtomicBool>,
    port: Arc<AtomicU16>,
    threads: Vec<JoinHandle<(String, u64)>>,
}

impl Agents {
    /// Agents that say as much as agents do.
    pub fn start(count: usize, port: u16) -> Self {
        Self::begin(count, port, 2000, false)
    }

    /// Agents that say little, so that a long run fits into memory.
    pub fn terse(count: usize, port: u16) -> Self {
        Self::begin(count, port, 20, false)
    }

    /// Agents to whom nobody may say no, not even for a moment.
    pub fn patient(count: usize, port: u16) -> Self {
        Self::begin(count, port, 2000, true)
    }

    fn begin(count: usize, port: u16, bytes: usize, never_refused: bool) -> Self {
        let flag = || Arc::new(AtomicBool::new(false));
        let (stop, rest, port) = (flag(), flag(), Arc::new(AtomicU16::new(port)));
        let start = |index| {
            let (stop, rest, port) = (Arc::clone(&stop), Arc::clone(&rest), Arc::clone(&port));
            thread::spawn(move || {
                let name = format!("agent-{index}");
                let (mut accepted, mut tries) = (0, 0_u64);
                while !stop.load(Ordering::SeqCst) {
                    if rest.load(Ordering::SeqCst) {
                        // Sleeps: between two looks at whether it is to go on.
                        thread::sleep(Duration::from_millis(5));
                        continue;
                    }
                    // No two tries are the same, so that each is known again wherever it comes out.
                    tries += 1;
                    let body = format!("{name} {} {tries} {}", accepted + 1, "x".repeat(bytes));
                    match post(port.load(Ordering::SeqCst), &name, &body) {
                        Some(200) => accepted += 1,
                        other if never_refused => panic!("{name} was refused: {other:?}"),
                        Some(503) | None => thread::yield_now(),
                        Some(status) => panic!("{status} makes an agent throw its data away"),
                    }
                }
                (name, accepted)
            })
        };
        let threads = (0..count).map(start).collect();
        Self { stop, rest, port, threads }
    }

    /// Where the relay listens now.
    pub fn follow(&self, port: u16) {
        self.port.store(port, Ordering::SeqCst);
    }

    /// Has them say nothing, or go on.
    pub fn rest(&self, rest: bool) {
        self.rest.store(rest, Ordering::SeqCst);
    }

    /// Ends them: how many each was told are accepted.
    ///
    /// # Panics
    /// When one was answered what makes it throw its data away.
    pub fn stop(self) -> BTreeMap<String, u64> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().map(|thread| thread.join().expect("no refusal for good")).collect()
    }
}

/// Each agent's data came, all of it and in order.
///
/// # Panics
/// When it did not.
pub fn check(receiver: &Receiver, accepted: &BTreeMap<String, u64>) {
    let firsts = receiver.firsts();
    for (agent, count) in accepted {
        let came = firsts.get(agent).cloned().unwrap_or_default();
        // One may have been kept whose answer was cut off.
        let most = count + 1;
        assert!(came.len() as u64 >= *count, "{agent}: {} of {count} came", came.len());
        assert!(came.len() as u64 <= most, "{agent}: more than was ever sent");
        assert!(came.is_sorted() && came.first() == Some(&1), "{agent}: out of order");
    }
}
