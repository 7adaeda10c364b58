//! The one way to stop: ask, then insist.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{runtime::Handle, sync::watch, time};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

/// How long who came just before the stop has to say what for.
const MOMENT: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving = 0,
    Asked = 1,
    Insisted = 2,
}

/// Makes the stop wait until it is dropped.
pub type Held = TaskTrackerToken;

/// A handle on the stop of this daemon, and on the tasks that the stop waits for.
#[derive(Clone)]
pub struct Drain {
    phase: Arc<watch::Sender<Phase>>,
    /// The phase once more, for who asks so often that a lock would be felt.
    raised: Arc<AtomicU8>,
    tasks: TaskTracker,
    cut: Arc<AtomicU64>,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            phase: Arc::new(watch::Sender::new(Phase::Serving)),
            raised: Arc::new(AtomicU8::new(Phase::Serving as u8)),
            tasks: TaskTracker::new(),
            cut: Arc::default(),
        }
    }
}

impl Drain {
    /// Asks: accept nothing new, finish what is open.
    pub fn ask(&self) {
        self.raise(Phase::Asked);
    }

    /// Insists: what is still open is dropped, and counted.
    pub fn insist(&self) {
        self.raise(Phase::Insisted);
    }

    fn raise(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let raised = *phase < to;
            if raised {
                *phase = to;
                self.raised.store(to as u8, Ordering::Release);
            }
            raised
        });
    }

    /// A stop of its own, for a part of what runs: it comes with this one, and may come before it.
    pub fn part(&self) -> Self {
        let (whole, part) = (self.clone(), Self::default());
        let own = part.clone();
        self.spawn_own(async move {
            tokio::select! {
                () = whole.started() => own.ask(),
                () = own.started() => {}
            }
            tokio::select! {
                () = whole.insisted() => own.insist(),
                () = own.idle() => {}
            }
            own.tasks.wait().await;
            whole.cut.fetch_add(own.cut(), Ordering::Relaxed);
        });
        part
    }

    /// Returns once the stop was asked for.
    pub async fn started(&self) {
        self.reached(Phase::Asked).await;
    }

    /// Returns a moment after the stop was asked for. A connection that was accepted and has asked nothing yet is ended
    /// then and not before: what it asks may be on its way.
    pub async fn lingered(&self) {
        self.started().await;
        time::sleep(MOMENT).await;
    }

    /// Returns once the stop is insisted on.
    pub async fn insisted(&self) {
        self.reached(Phase::Insisted).await;
    }

    async fn reached(&self, phase: Phase) {
        // The sender lives in self, so waiting cannot fail.
        self.phase.subscribe().wait_for(|now| *now >= phase).await.ok();
    }

    /// Whether the stop was asked for.
    pub fn is_started(&self) -> bool {
        self.raised.load(Ordering::Acquire) >= Phase::Asked as u8
    }

    /// Whether the stop is insisted on.
    pub fn is_insisted(&self) -> bool {
        self.raised.load(Ordering::Acquire) >= Phase::Insisted as u8
    }

    /// Runs a task on this runtime that the stop waits for. Once the stop is insisted on, the task
    /// is dropped where it stands and counted as cut.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let drain = self.clone();
        self.spawn_own(async move {
            tokio::select! {
                biased;
                () = task => {}
                () = drain.insisted() => drain.count_cut(),
            }
        });
    }

    /// Runs a task that watches [`Drain::insisted`] by itself: it is waited for, and not dropped.
    pub fn spawn_own(&self, task: impl Future<Output = ()> + Send + 'static) {
        #[expect(clippy::disallowed_methods, reason = "this is what everything else calls instead")]
        tokio::spawn(self.tasks.track_future(task));
    }

    /// As [`Drain::spawn_own`], on another runtime, which must run until [`Drain::idle`] returns there. The caller
    /// [holds](Drain::hold) the stop meanwhile: else that runtime may have ended, and the task is dropped.
    pub fn spawn_own_on(&self, runtime: &Handle, task: impl Future<Output = ()> + Send + 'static) {
        runtime.spawn(self.tasks.track_future(task));
    }

    /// Makes the stop wait, as a task would, until what this gives is dropped.
    pub fn hold(&self) -> Held {
        self.tasks.token()
    }

    /// Counts work that was cut short because the stop was insisted on.
    pub fn count_cut(&self) {
        self.cut.fetch_add(1, Ordering::Relaxed);
    }

    /// How many tasks were cut short.
    pub fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    /// Returns once the stop was asked for and no task is left.
    pub async fn idle(&self) {
        self.started().await;
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{sync::oneshot, time};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_ends_in_time_is_not_cut() {
        let drain = Drain::default();
        drain.spawn(time::sleep(Duration::from_secs(5)));
        drain.ask();
        drain.idle().await;
        assert_eq!(drain.cut(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_stop_waits_for_who_holds_it_and_for_what_they_give_to_another_runtime() {
        let drain = Drain::default();
        let held = drain.hold();
        drain.ask();
        time::timeout(Duration::from_secs(60), drain.idle()).await.unwrap_err();
        drain.spawn_own_on(&Handle::current(), time::sleep(Duration::from_secs(5)));
        drop(held);
        let begun = time::Instant::now();
        drain.idle().await;
        assert_eq!(begun.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_still_open_when_insisted_on_is_cut_and_counted() {
        let drain = Drain::default();
        drain.spawn(std::future::pending());
        drain.spawn(time::sleep(Duration::from_secs(1)));
        drain.ask();
        time::sleep(Duration::from_secs(2)).await;
        drain.insist();
        drain.idle().await;
        assert_eq!(drain.cut(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_stops_with_the_whole_and_alone() {
        let whole = Drain::default();
        let (first, second) = (whole.part(), whole.part());
        first.ask();
        first.idle().await;
        assert!(!whole.is_started() && !second.is_started());
        second.spawn(std::future::pending());
        whole.ask();
        second.started().await;
        time::timeout(Duration::from_secs(5), whole.idle()).await.expect_err("a task of a part is left");
        whole.insist();
        whole.idle().await;
        assert_eq!(whole.cut(), 1);
    }

    #[tokio::test]
    async fn asking_after_insisting_takes_nothing_back() {
        let drain = Drain::default();
        drain.insist();
        drain.ask();
        assert!(drain.is_insisted());
        drain.started().await;
    }

    #[tokio::test]
    async fn a_panic_in_one_task_leaves_the_others() {
        let drain = Drain::default();
        let (done, finished) = oneshot::channel();
        drain.spawn(async { panic!("one connection") });
        drain.spawn(async move { done.send(()).unwrap() });
        finished.await.unwrap();
        drain.ask();
        drain.idle().await;
        assert_eq!(drain.cut(), 0);
    }
}
