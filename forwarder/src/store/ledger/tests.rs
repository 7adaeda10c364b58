//! The law of the ledger.

use std::collections::BTreeMap;

use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};

use super::*;

fn report(sequenced: u64, filtered: u64, dropped: u64) -> wire::Report {
    let reason = wire::DropReason::Memory as i32;
    let seen = sequenced + filtered + dropped;
    wire::Report { seen, sequenced, filtered, dropped: vec![wire::Drop { reason, count: dropped }] }
}

fn batch(epoch: u64, first: u64, count: u32, report: wire::Report) -> wire::CaptureRequest {
    wire::CaptureRequest {
        proxy_id: "a".into(),
        epoch,
        first_sequence: first,
        count,
        report: Some(report),
        ..Default::default()
    }
}

fn check_in(epoch: u64, report: wire::Report, closing: bool) -> wire::CheckInRequest {
    wire::CheckInRequest { proxy_id: "a".into(), epoch, report: Some(report), closing }
}

fn register(epoch: u64) -> wire::RegisterRequest {
    wire::RegisterRequest { proxy_id: "a".into(), epoch, ..Default::default() }
}

#[track_caller]
fn check(ledger: &Ledger, seen: u64, stored: u64, in_flight: u64, dropped: &[(&'static str, u64)]) {
    let account = &ledger.accounting()["a"];
    assert_eq!((account.seen, account.stored, account.in_flight), (seen, stored, in_flight));
    assert_eq!(account.dropped, dropped.iter().copied().collect::<BTreeMap<_, _>>());
}

#[test]
fn a_resent_batch_is_stored_once_and_an_overlap_is_trimmed() {
    let mut ledger = Ledger::default();
    ledger.register(&register(1), 1);
    let accepted = ledger.batch(&batch(1, 1, 10, report(10, 0, 0)), false, 2).unwrap();
    assert_eq!(accepted, Accepted { known: 0, gap: 0, stored_through: 10 });
    let accepted = ledger.batch(&batch(1, 1, 10, report(10, 0, 0)), false, 2).unwrap();
    assert_eq!(accepted, Accepted { known: 10, gap: 0, stored_through: 10 });
    let accepted = ledger.batch(&batch(1, 6, 10, report(20, 0, 0)), false, 2).unwrap();
    assert_eq!(accepted, Accepted { known: 5, gap: 0, stored_through: 15 });
    check(&ledger, 20, 15, 5, &[]);
}

#[test]
fn a_gap_is_refused_off_the_wire_and_counted_as_lost_off_a_damaged_log() {
    let mut ledger = Ledger::default();
    ledger.batch(&batch(1, 1, 10, report(10, 0, 0)), false, 2).unwrap();
    let refused = ledger.batch(&batch(1, 12, 1, report(12, 0, 0)), false, 2);
    assert_eq!(refused, Err(Contradiction::Gap { stored_through: 10 }));
    check(&ledger, 10, 10, 0, &[]);
    ledger.batch(&batch(1, 14, 1, report(14, 0, 0)), true, 2).unwrap();
    check(&ledger, 14, 11, 0, &[("lost", 3)]);
}

#[test]
fn a_report_that_does_not_add_up_or_goes_back_and_forth_is_refused() {
    let mut ledger = Ledger::default();
    let wrong = wire::Report { seen: 3, sequenced: 1, filtered: 1, dropped: vec![] };
    assert_eq!(ledger.check_in(&check_in(1, wrong, false), 1), Err(Contradiction::Report));
    let huge = wire::Report { seen: 0, sequenced: u64::MAX, filtered: 1, dropped: vec![] };
    assert_eq!(ledger.check_in(&check_in(1, huge, false), 1), Err(Contradiction::Report));
    assert_eq!(ledger.batch(&batch(1, 1, 2, report(1, 0, 0)), false, 1), Err(Contradiction::Report));
    assert_eq!(
        ledger.batch(&batch(1, 0, 2, report(2, 0, 0)), false, 1),
        Err(Contradiction::Missing("first_sequence"))
    );
    assert_eq!(ledger.batch(&batch(1, u64::MAX, 2, report(2, 0, 0)), false, 1), Err(Contradiction::Report));
    ledger.check_in(&check_in(1, report(5, 1, 0), false), 1).unwrap();
    assert_eq!(ledger.check_in(&check_in(1, report(4, 2, 0), false), 1), Err(Contradiction::Report));
    // An older report that comes late changes nothing.
    assert_eq!(ledger.check_in(&check_in(1, report(4, 1, 0), false), 1), Ok(false));
    check(&ledger, 6, 0, 5, &[]);
}

#[test]
fn what_a_reaped_run_held_is_cut_until_it_comes_back() {
    let mut ledger = Ledger::default();
    ledger.batch(&batch(1, 1, 3, report(5, 0, 2)), false, 1).unwrap();
    assert!(ledger.reap("a", 1));
    assert!(!ledger.reap("a", 1));
    check(&ledger, 7, 3, 0, &[("cut", 2), ("memory", 2)]);
    assert_eq!(ledger.check_in(&check_in(1, report(5, 0, 2), false), 1), Ok(true));
    check(&ledger, 7, 3, 2, &[("memory", 2)]);
    ledger.batch(&batch(1, 4, 2, report(5, 0, 2)), false, 1).unwrap();
    check(&ledger, 7, 5, 0, &[("memory", 2)]);
}

#[test]
fn a_new_run_cuts_the_one_before_unless_it_closed() {
    let mut ledger = Ledger::default();
    ledger.register(&register(1), 1);
    ledger.batch(&batch(1, 1, 3, report(5, 0, 0)), false, 1).unwrap();
    ledger.register(&register(2), 2);
    check(&ledger, 5, 3, 0, &[("cut", 2)]);
    assert_eq!(ledger.register(&register(1), 3), 3);
    assert!(ledger.epoch("a", 2).is_some_and(|epoch| epoch.cut));
    ledger.check_in(&check_in(1, report(5, 0, 0), true), 4).unwrap();
    ledger.register(&register(3), 2);
    assert!(ledger.epoch("a", 1).is_some_and(|epoch| epoch.closed && !epoch.cut));
}

#[test]
fn what_a_closed_run_still_held_is_cut() {
    let mut ledger = Ledger::default();
    ledger.batch(&batch(1, 1, 3, report(5, 0, 0)), false, 1).unwrap();
    ledger.check_in(&check_in(1, report(5, 0, 0), true), 1).unwrap();
    check(&ledger, 5, 3, 0, &[("cut", 2)]);
    assert!(!ledger.reap("a", 1));
    ledger.batch(&batch(1, 4, 2, report(5, 0, 0)), false, 1).unwrap();
    check(&ledger, 5, 5, 0, &[]);
}

#[derive(Clone, Debug)]
enum Step {
    Sequence(u8),
    Filter(u8),
    Drop(u8),
    Send(u8),
    Resend(u8, u8),
    CheckIn,
    Reap,
    Restart,
    NewRun,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<u8>().prop_map(Step::Sequence),
        any::<u8>().prop_map(Step::Filter),
        any::<u8>().prop_map(Step::Drop),
        any::<u8>().prop_map(Step::Send),
        any::<(u8, u8)>().prop_map(|(from, count)| Step::Resend(from, count)),
        proptest::strategy::Just(Step::CheckIn),
        proptest::strategy::Just(Step::Reap),
        proptest::strategy::Just(Step::Restart),
        proptest::strategy::Just(Step::NewRun),
        proptest::strategy::Just(Step::Close),
    ]
}

/// What the proxy knows of its run.
#[derive(Clone, Default)]
struct Run {
    told: wire::Report,
    sequenced: u64,
    filtered: u64,
    dropped: u64,
    stored: u64,
    ended: bool,
}

impl Run {
    fn report(&self) -> wire::Report {
        report(self.sequenced, self.filtered, self.dropped)
    }
}

proptest! {
    #[test]
    fn whatever_happens_seen_is_the_sum_of_the_rest(steps in proptest::collection::vec(step(), 0..60)) {
        let mut ledger = Ledger::default();
        let mut runs = vec![Run::default()];
        ledger.register(&register(1), 1);
        for step in steps {
            let epoch = runs.len() as u64;
            let run = runs.last_mut().unwrap();
            match step {
                Step::Sequence(count) => run.sequenced += u64::from(count),
                Step::Filter(count) => run.filtered += u64::from(count),
                Step::Drop(count) => run.dropped += u64::from(count),
                Step::Send(count) => {
                    let count = u64::from(count).min(run.sequenced - run.stored);
                    ledger.batch(&batch(epoch, run.stored + 1, u32::try_from(count).unwrap(), run.report()), false, 1).unwrap();
                    run.stored += count;
                    (run.told, run.ended) = (run.report(), false);
                }
                Step::Resend(from, count) => {
                    let from = u64::from(from) % (run.stored + 1);
                    let count = u64::from(count).min(run.sequenced - from);
                    ledger.batch(&batch(epoch, from + 1, u32::try_from(count).unwrap(), run.report()), false, 1).unwrap();
                    run.stored = run.stored.max(from + count);
                    (run.told, run.ended) = (run.report(), false);
                }
                Step::CheckIn => {
                    ledger.check_in(&check_in(epoch, run.report(), false), 1).unwrap();
                    (run.told, run.ended) = (run.report(), false);
                }
                Step::Reap => {
                    ledger.reap("a", epoch);
                    run.ended = true;
                }
                Step::Restart => {
                    let kept = serde_json::to_vec(&ledger).unwrap();
                    ledger = serde_json::from_slice(&kept).unwrap();
                }
                Step::NewRun => {
                    run.ended = true;
                    ledger.register(&register(epoch + 1), 1);
                    runs.push(Run::default());
                }
                Step::Close => {
                    ledger.check_in(&check_in(epoch, run.report(), true), 1).unwrap();
                    run.told = run.report();
                    run.ended = true;
                    ledger.register(&register(epoch + 1), 1);
                    runs.push(Run::default());
                }
            }
            let account = &ledger.accounting()["a"];
            let dropped: u64 = account.dropped.values().sum();
            prop_assert_eq!(account.seen, account.stored + account.filtered + dropped + account.in_flight);
            prop_assert_eq!(account.stored, runs.iter().map(|run| run.stored).sum::<u64>());
            prop_assert_eq!(account.seen, runs.iter().map(|run| run.told.seen).sum::<u64>());
            let held = |run: &Run| run.told.sequenced - run.stored;
            let open = runs.iter().filter(|run| !run.ended).map(held).sum::<u64>();
            prop_assert_eq!(account.in_flight, open);
        }
    }
}
