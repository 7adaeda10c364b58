//! The numbers of the queue add up whatever happens to the forwarder.

use common::exchange::{Connection, End, Message, Protocol};
use proptest::prelude::*;

use super::*;

fn connection() -> Connection {
    Connection { number: 0, accepted_at_ns: 1, downstream: ([127, 0, 0, 1], 1).into(), upstream: None }
}

fn exchange(body: usize) -> Exchange {
    let request = Message {
        body: vec![b'x'; body].into(),
        body_bytes: body as u64,
        wire_bytes: body as u64,
        ..Message::default()
    };
    Exchange {
        index: 0,
        protocol: Protocol::Http1,
        request,
        response: None,
        informational: Vec::new(),
        end: End::Complete,
        findings: Vec::new(),
    }
}

fn offer(queue: &Queue, body: usize) {
    if queue.budget().take(body) {
        queue.offer(&Opening::from(&connection()), exchange(body), body);
    } else {
        queue.lost(DropReason::Memory);
    }
}

fn next(queue: &Queue) -> Option<(u64, u64)> {
    let batch = queue.next("p", true)?;
    assert_eq!(batch.decode_exchanges().unwrap().len() as u64, u64::from(batch.count));
    let report = batch.report.unwrap();
    let dropped: u64 = report.dropped.iter().map(|drop| drop.count).sum();
    assert_eq!(report.seen, report.sequenced + report.filtered + dropped);
    let last = batch.first_sequence + u64::from(batch.count) - 1;
    assert!(report.sequenced >= last, "the report of a batch includes the batch");
    Some((batch.first_sequence, last))
}

#[test]
fn what_is_not_acknowledged_is_sent_again_under_the_same_sequence() {
    let queue = Queue::new(1 << 20, 1);
    offer(&queue, 10);
    offer(&queue, 10);
    assert_eq!(next(&queue), Some((1, 2)));
    offer(&queue, 10);
    assert_eq!(next(&queue), Some((3, 3)));
    assert_eq!(next(&queue), None);
    assert_eq!(queue.resume(2, 2), None);
    assert_eq!(next(&queue), Some((3, 3)));
    queue.acknowledge(3);
    assert_eq!(queue.budget().used(), 0);
    assert_eq!(queue.counts(), Counts { seen: 3, acknowledged: 3, ..Counts::default() });
}

#[test]
fn over_the_budget_whole_exchanges_are_dropped_and_counted() {
    let queue = Queue::new(2000, 1);
    for _ in 0..5 {
        offer(&queue, 800);
    }
    let counts = queue.counts();
    assert_eq!((counts.seen, counts.in_flight, counts.dropped_memory), (5, 2, 3));
    assert!(queue.budget().used() <= 2000);
}

#[test]
fn a_forwarder_that_lost_its_store_gets_a_new_epoch_with_what_is_left() {
    let queue = Queue::new(1 << 20, 1);
    offer(&queue, 10);
    next(&queue);
    queue.acknowledge(1);
    offer(&queue, 10);
    queue.lost(DropReason::Memory);
    assert_eq!(queue.resume(0, 7), Some(7));
    assert_eq!(queue.epoch(), 7);
    assert_eq!(next(&queue), Some((1, 1)));
    assert_eq!(
        queue.counts(),
        Counts { seen: 3, acknowledged: 1, in_flight: 1, dropped_memory: 1, ..Counts::default() }
    );
    queue.acknowledge(1);
    offer(&queue, 10);
    assert_eq!(next(&queue), Some((2, 2)));
    assert_eq!(
        queue.counts(),
        Counts { seen: 4, acknowledged: 2, in_flight: 1, dropped_memory: 1, ..Counts::default() }
    );
}

#[test]
fn a_batch_that_is_refused_for_good_does_not_hold_up_what_is_behind_it() {
    let queue = Queue::new(1 << 20, 1);
    offer(&queue, 10);
    next(&queue);
    queue.acknowledge(1);
    offer(&queue, 10);
    offer(&queue, 10);
    assert_eq!(next(&queue), Some((2, 3)));
    offer(&queue, 10);
    assert_eq!(next(&queue), Some((4, 4)));
    queue.refuse(5);
    assert_eq!(queue.epoch(), 5);
    assert_eq!(next(&queue), Some((1, 1)));
    let counts = Counts { seen: 4, acknowledged: 1, in_flight: 1, dropped_refused: 2, ..Counts::default() };
    assert_eq!(queue.counts(), counts);
    queue.acknowledge(1);
    assert_eq!(queue.counts(), Counts { acknowledged: 2, in_flight: 0, ..counts });
    assert_eq!(queue.budget().used(), 0);
}

#[test]
fn a_large_exchange_goes_alone_and_in_order() {
    let queue = Queue::new(8 << 20, 1);
    offer(&queue, 10);
    offer(&queue, 1 << 20);
    offer(&queue, 10);
    assert_eq!(next(&queue), Some((1, 1)));
    assert_eq!(next(&queue), Some((2, 2)));
    assert_eq!(next(&queue), Some((3, 3)));
}

#[test]
fn no_more_than_a_window_is_on_its_way() {
    let queue = Queue::new(64 << 20, 1);
    for _ in 0..12 {
        offer(&queue, 1 << 20);
    }
    let sent = std::iter::from_fn(|| next(&queue)).count();
    assert_eq!(sent, 8);
    queue.acknowledge(1);
    assert_eq!(next(&queue), Some((9, 9)));
}

fn total(counts: &Counts) -> u64 {
    let dropped = counts.dropped_memory + counts.dropped_decoder + counts.dropped_refused;
    counts.acknowledged + counts.in_flight + dropped
}

#[derive(Clone, Debug)]
enum Step {
    Offer(usize),
    Lose,
    Send,
    /// The forwarder stores what it was sent, and says so or not.
    Store {
        acknowledge: bool,
    },
    Reconnect {
        wiped: bool,
    },
    Refuse,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0usize..60_000).prop_map(Step::Offer),
        1 => Just(Step::Lose),
        4 => Just(Step::Send),
        3 => any::<bool>().prop_map(|acknowledge| Step::Store { acknowledge }),
        2 => prop::bool::weighted(0.2).prop_map(|wiped| Step::Reconnect { wiped }),
        1 => Just(Step::Refuse),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #[test]
    fn every_exchange_is_stored_once_or_counted(steps in steps()) {
        let queue = Queue::new(400_000, 1);
        let (mut offered, mut stored, mut hwm, mut arrived, mut epoch) = (0u64, 0u64, 0u64, 0u64, 1u64);
        for step in steps {
            match step {
                Step::Offer(body) => { offered += 1; offer(&queue, body); }
                Step::Lose => { offered += 1; queue.lost(DropReason::Decoder); }
                Step::Send => if let Some((first, last)) = next(&queue) {
                    prop_assert_eq!(first, arrived + 1, "without a gap");
                    arrived = last;
                },
                Step::Store { acknowledge } => {
                    stored += arrived.saturating_sub(hwm);
                    hwm = hwm.max(arrived);
                    if acknowledge { queue.acknowledge(hwm); }
                }
                Step::Refuse => if arrived > hwm {
                    queue.acknowledge(hwm);
                    epoch += 1;
                    queue.refuse(epoch);
                    (hwm, arrived) = (0, 0);
                },
                Step::Reconnect { wiped } => {
                    if wiped { hwm = 0; }
                    arrived = hwm;
                    if let Some(fresh) = queue.resume(hwm, epoch + 1) {
                        epoch = fresh;
                        (hwm, arrived) = (0, 0);
                    }
                }
            }
            let counts = queue.counts();
            prop_assert_eq!(counts.seen, offered);
            prop_assert_eq!(counts.seen, total(&counts));
            prop_assert!(queue.budget().used() <= queue.budget().limit());
        }
        prop_assert_eq!(queue.resume(hwm, epoch + 1).is_some(), false);
        arrived = hwm;
        while let Some((_, last)) = next(&queue) {
            stored += last - arrived;
            arrived = last;
            queue.acknowledge(last);
        }
        let counts = queue.counts();
        prop_assert_eq!(counts.in_flight, 0);
        prop_assert_eq!(queue.budget().used(), 0);
        prop_assert!(stored >= counts.acknowledged, "nothing acknowledged that was not stored");
    }
}

#[test]
fn without_a_flush_only_full_batches_go() {
    let queue = Queue::new(1 << 20, 1);
    (0..3).for_each(|_| offer(&queue, 10));
    assert_eq!(queue.next("p", false), None);
    (0..20).for_each(|_| offer(&queue, 20 << 10));
    let full = queue.next("p", false).unwrap();
    assert_eq!(full.first_sequence, 1);
    assert_eq!(queue.next("p", false), None);
    assert_eq!(next(&queue), Some((u64::from(full.count) + 1, 23)));
}
