//! A provider that counts, dawdles and fails as it is told, called by many at once.

use std::{collections::VecDeque, sync::atomic::AtomicUsize, sync::atomic::Ordering::Relaxed};

use async_trait::async_trait;
use futures::future::join_all;

use super::*;
use crate::provider::{Seen, Status};

/// What the provider is like.
#[derive(Default)]
struct Behavior {
    takes: Duration,
    /// The answers of the first calls; then it works.
    faults: Mutex<VecDeque<Fault>>,
    bad_id: Option<&'static str>,
    panics: bool,
    most_ids: Option<usize>,
}

#[derive(Default)]
struct Record {
    calls: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    finished: AtomicUsize,
    ids: Mutex<Vec<usize>>,
}

struct Fake(Arc<Record>, Behavior);

impl Fake {
    async fn called(&self, target: &Target) -> Result<(), Error> {
        let Self(record, behavior) = self;
        record.calls.fetch_add(1, Relaxed);
        record.ids.lock().unwrap().push(target.ids.len());
        let at_once = record.at_once.fetch_add(1, Relaxed) + 1;
        record.most_at_once.fetch_max(at_once, Relaxed);
        time::sleep(behavior.takes).await;
        record.at_once.fetch_sub(1, Relaxed);
        assert!(!behavior.panics, "as it was told");
        record.finished.fetch_add(1, Relaxed);
        if behavior.bad_id.is_some_and(|bad| target.ids.iter().any(|id| id == bad)) {
            return Err(Fault::Gone.said("InvalidInstanceID.NotFound"));
        }
        match behavior.faults.lock().unwrap().pop_front() {
            Some(fault) => Err(fault.said("as it was told")),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Provider for Fake {
    async fn start(&self, target: &Target, _: Instant) -> Result<(), Error> {
        self.called(target).await
    }

    async fn stop(&self, target: &Target, _: Stop, _: Instant) -> Result<(), Error> {
        self.called(target).await
    }

    async fn status(&self, target: &Target, _: Instant) -> Result<Sightings, Error> {
        self.called(target).await?;
        Ok(target.ids.iter().map(|id| (id.clone(), Seen::of(Status::Running))).collect())
    }

    async fn describe(&self, target: &Target, deadline: Instant) -> Result<Sightings, Error> {
        self.status(target, deadline).await
    }

    fn most_ids(&self) -> usize {
        self.1.most_ids.unwrap_or(100)
    }
}

fn caller(behavior: Behavior, calls: Calls) -> (Caller, Arc<Record>, Drain) {
    let (record, drain) = (Arc::<Record>::default(), Drain::default());
    let fake = Box::new(Fake(Arc::clone(&record), behavior));
    (Caller::over("fake", fake, calls, &drain), record, drain)
}

fn plain(behavior: Behavior) -> (Caller, Arc<Record>, Drain) {
    caller(behavior, Calls::default())
}

fn slow() -> Behavior {
    Behavior { takes: Duration::from_secs(5), ..Behavior::default() }
}

fn target(ids: &[&str]) -> Target {
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    Target { kind: "instance".into(), ids, ..Target::default() }
}

fn fault<T>(result: Result<T, Error>) -> Fault {
    result.err().unwrap().fault
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_who_want_it_started_make_one_call() {
    let (caller, record, _) = plain(slow());
    let target = target(&["a", "b"]);
    let all = join_all((0..10_000).map(|_| caller.start(&target))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(record.calls.load(Relaxed), 1);
    caller.start(&target).await.unwrap();
    assert_eq!(record.calls.load(Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn two_orders_are_never_under_way_for_one_id() {
    let (caller, record, _) = plain(slow());
    let (one, other, apart) = (target(&["a", "b"]), target(&["b", "c"]), target(&["d"]));
    let (started, stopped, overlapping, elsewhere) = tokio::join!(
        caller.start(&one),
        caller.stop(&one, Stop::Shutdown),
        caller.start(&other),
        caller.stop(&apart, Stop::Shutdown)
    );
    assert_eq!((started, elsewhere), (Ok(()), Ok(())));
    assert_eq!((fault(stopped), fault(overlapping)), (Fault::Busy, Fault::Busy));
    assert_eq!(record.calls.load(Relaxed), 2);
    caller.stop(&one, Stop::Hibernate).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_order_goes_on_when_who_gave_it_goes_away() {
    let (caller, record, _) = plain(slow());
    let target = target(&["a"]);
    let gone = time::timeout(Duration::from_secs(1), caller.start(&target)).await;
    assert!(gone.is_err());
    caller.start(&target).await.unwrap();
    assert_eq!((record.calls.load(Relaxed), record.finished.load(Relaxed)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_too_long_ends_with_its_outcome_unknown() {
    let (caller, record, _) = plain(Behavior { takes: Duration::from_secs(3600), ..Behavior::default() });
    let begun = Instant::now();
    let target = target(&["a"]);
    assert_eq!(fault(caller.start(&target).await), Fault::Timeout);
    assert_eq!(begun.elapsed().as_secs(), 60);
    assert_eq!(fault(caller.status(&target).await), Fault::Timeout);
    assert_eq!(record.finished.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_and_not_the_end() {
    let (caller, record, _) = plain(Behavior { panics: true, ..Behavior::default() });
    let target = target(&["a"]);
    for calls in [2, 4] {
        assert_eq!(fault(caller.start(&target).await), Fault::Interrupted);
        assert_eq!(fault(caller.status(&target).await), Fault::Interrupted);
        assert_eq!(record.calls.load(Relaxed), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_is_insisted_on_ends_every_call() {
    let (caller, _, drain) = plain(slow());
    let target = target(&["a"]);
    let stop = async {
        time::sleep(Duration::from_secs(1)).await;
        drain.insist();
    };
    let (started, seen, ()) = tokio::join!(caller.start(&target), caller.status(&target), stop);
    assert_eq!((fault(started), fault(seen)), (Fault::Interrupted, Fault::Interrupted));
    drain.idle().await;
    assert_eq!(drain.cut(), 2);
}

#[tokio::test(start_paused = true)]
async fn many_questions_go_as_one_and_each_gets_its_own_answer() {
    let (caller, record, _) = plain(slow());
    let targets: Vec<_> = (0..50).map(|at| target(&[&format!("i-{at}"), "shared"])).collect();
    let all = join_all(targets.iter().map(|target| caller.status(target))).await;
    for (target, seen) in targets.iter().zip(all) {
        let mut ids = target.ids.clone();
        ids.sort();
        assert_eq!(seen.unwrap().into_keys().collect::<Vec<_>>(), ids);
    }
    assert_eq!(*record.ids.lock().unwrap(), [51]);
}

#[tokio::test(start_paused = true)]
async fn who_asks_meanwhile_goes_with_the_next_and_no_two_are_under_way() {
    let (caller, record, _) = plain(slow());
    let late = async |seconds| {
        time::sleep(Duration::from_secs(seconds)).await;
        caller.status(&target(&["b"])).await
    };
    let (first, second, third) = tokio::join!(late(0), late(1), late(2));
    assert!(first.is_ok() && second.is_ok() && third.is_ok());
    assert_eq!(*record.ids.lock().unwrap(), [1, 1]);
    assert_eq!(record.most_at_once.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn what_differs_in_kind_or_parameters_is_asked_apart_and_a_long_list_in_parts() {
    let (caller, record, _) = plain(Behavior { most_ids: Some(2), ..Behavior::default() });
    let mut elsewhere = target(&["a"]);
    elsewhere.params.insert("region".into(), "eu".into());
    let database = Target { kind: "database".into(), ..target(&["a"]) };
    let long = target(&["a", "b", "c", "d", "e"]);
    let (one, two, three, four) = tokio::join!(
        caller.status(&elsewhere),
        caller.status(&database),
        caller.status(&long),
        caller.describe(&elsewhere)
    );
    assert!(one.is_ok() && two.is_ok() && four.is_ok());
    assert_eq!(three.unwrap().len(), 5);
    let mut ids = record.ids.lock().unwrap().clone();
    ids.sort_unstable();
    assert_eq!(ids, [1, 1, 1, 1, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn one_bad_id_does_not_hide_the_others() {
    let (caller, record, _) = plain(Behavior { bad_id: Some("bad"), ..Behavior::default() });
    let (good, bad) = (target(&["a"]), target(&["bad"]));
    let (good, bad) = tokio::join!(caller.status(&good), caller.status(&bad));
    assert_eq!(good.unwrap()["a"].status, Status::Running);
    assert_eq!(fault(bad), Fault::Gone);
    assert_eq!(*record.ids.lock().unwrap(), [2, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_call_is_tried_again_when_the_provider_wants_it() {
    let wait = Duration::from_secs(7);
    let faults = [Fault::Throttled { retry_after: Some(wait) }, Fault::Throttled { retry_after: None }];
    let (caller, record, _) = plain(Behavior { faults: Mutex::new(faults.into()), ..Behavior::default() });
    let begun = Instant::now();
    caller.start(&target(&["a"])).await.unwrap();
    assert_eq!(record.calls.load(Relaxed), 3);
    let counts = caller.counts();
    let counts: Vec<_> = counts.iter().map(|count| (count.op, count.outcome, count.calls)).collect();
    assert_eq!(counts, [("start", "ok", 1), ("start", "throttled", 2)]);
    assert!(begun.elapsed() >= wait && begun.elapsed() < wait + Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_throttles_for_ever_is_not_waited_for_and_holds_all_its_calls() {
    let faults = [Fault::Throttled { retry_after: Some(Duration::MAX) }];
    let (caller, ..) = plain(Behavior { faults: Mutex::new(faults.into()), ..Behavior::default() });
    let begun = Instant::now();
    assert!(matches!(fault(caller.start(&target(&["a"])).await), Fault::Throttled { .. }));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let faults = [Fault::Throttled { retry_after: Some(Duration::from_secs(30)) }];
    let (caller, ..) = plain(Behavior { faults: Mutex::new(faults.into()), ..Behavior::default() });
    let (one, other) = (target(&["a"]), target(&["b"]));
    let after = async {
        time::sleep(Duration::from_secs(1)).await;
        caller.start(&other).await.map(|()| Instant::now())
    };
    let begun = Instant::now();
    let (one, other) = tokio::join!(caller.start(&one), after);
    assert_eq!(one, Ok(()));
    assert!(other.unwrap() >= begun + Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn other_faults_are_not_tried_again() {
    for fault_told in [Fault::Busy, Fault::NoCapacity, Fault::Denied, Fault::Interrupted] {
        let faults = Mutex::new([fault_told].into());
        let (caller, record, _) = plain(Behavior { faults, ..Behavior::default() });
        assert_eq!(fault(caller.start(&target(&["a"])).await), fault_told);
        assert_eq!(record.calls.load(Relaxed), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_budget_is_kept_to_and_nobody_waits_beyond_the_timeout() {
    let calls = Calls { calls_per_minute: 60, burst: 10, ..Calls::default() };
    let (caller, record, _) = caller(Behavior::default(), calls);
    let targets: Vec<_> = (0..200).map(|at| target(&[&format!("i-{at}")])).collect();
    let begun = Instant::now();
    let all = join_all(targets.iter().map(|target| caller.start(target))).await;
    let done = all.iter().filter(|done| done.is_ok()).count();
    assert_eq!((done, record.calls.load(Relaxed)), (69, 69));
    assert!(all.into_iter().filter_map(Result::err).all(|e| matches!(e.fault, Fault::Throttled { .. })));
    assert!(begun.elapsed() <= Duration::from_secs(60));
}
