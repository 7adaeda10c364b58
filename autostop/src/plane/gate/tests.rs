//! Who goes through, who waits, and that every count adds up.

use std::{sync::atomic::AtomicBool, thread};

use common::relay::Side;

use super::*;
use crate::plane::{activity::Floor, visitor::Kind};

const FLOOR: Floor = Floor { bytes: 100, both_speak: true };

fn gate() -> Arc<Gate> {
    Arc::new(Gate::new("rule", Arc::new(Notify::new())))
}

fn visitor(kind: Kind) -> Visitor {
    Visitor::new(kind, "192.0.2.1:5".parse().unwrap(), "tcp", "port 1".to_owned(), FLOOR, false)
}

fn enter(gate: &Arc<Gate>, kind: Kind) -> Visit {
    gate.enter(visitor(kind), 22, 100).unwrap()
}

fn state(phase: Phase, generation: u64) -> State {
    let addresses = Arc::from([Place::parse("127.0.0.1").unwrap()]);
    State { phase, generation, addresses, ..State::default() }
}

fn counts(open_connections: u32, open_requests: u32, parked: u32) -> Counts {
    Counts { open_connections, open_requests, parked }
}

#[test]
fn the_phase_says_who_goes_through() {
    for (phase, standing) in [
        (Phase::Unknown, Standing::Wait),
        (Phase::Awake, Standing::Through),
        (Phase::Fenced, Standing::Wait),
        (Phase::Asleep, Standing::Wait),
        (Phase::Waking, Standing::Wait),
        (Phase::Failed, Standing::Failed),
        (Phase::Closed, Standing::Closed),
    ] {
        let gate = gate();
        gate.set(state(phase, 1));
        let mut visit = enter(&gate, Kind::Connection);
        assert_eq!(visit.look(), standing, "{phase:?}");
        assert_eq!(visit.is_through(), standing == Standing::Through);
        gate.set_removed(true);
        let mut visit = enter(&gate, Kind::Connection);
        assert_eq!(visit.look(), Standing::Closed, "{phase:?}, and not in the plan");
    }
}

#[test]
fn a_fence_counts_those_who_went_through_and_they_stay_so() {
    let gate = gate();
    gate.set(state(Phase::Awake, 1));
    let mut open = [enter(&gate, Kind::Connection), enter(&gate, Kind::Request), enter(&gate, Kind::Aside)];
    assert_eq!(gate.set(state(Phase::Fenced, 2)), counts(1, 2, 0));
    let mut late = enter(&gate, Kind::Connection);
    assert!(open.iter_mut().all(|visit| visit.look() == Standing::Through));
    assert_eq!(late.look(), Standing::Wait);
    assert_eq!(gate.set(state(Phase::Fenced, 2)), counts(1, 2, 1));
    drop(open);
    assert_eq!(gate.set(state(Phase::Asleep, 3)), counts(0, 0, 1));
    gate.set(state(Phase::Awake, 4));
    assert_eq!(late.look(), Standing::Through);
    assert_eq!(gate.counts(), counts(1, 0, 0));
    drop(late);
    assert_eq!(gate.counts(), Counts::default());
}

/// The law of the fence, without a network: after a fence that counted nobody, nobody is through until
/// it is lifted.
#[test]
fn no_arrival_is_between_the_count_and_the_phase() {
    let gate = gate();
    let stopped = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicBool::new(false));
    let arrivals: Vec<_> = (0..3)
        .map(|_| {
            let (gate, stopped, done) = (Arc::clone(&gate), Arc::clone(&stopped), Arc::clone(&done));
            thread::spawn(move || {
                let mut through = 0;
                while !done.load(Ordering::SeqCst) {
                    let mut visit = enter(&gate, Kind::Connection);
                    if visit.look() == Standing::Through {
                        assert!(!stopped.load(Ordering::SeqCst), "through, and the target was stopped");
                        through += 1;
                    }
                    drop(visit);
                    thread::yield_now();
                }
                through
            })
        })
        .collect();
    let mut stops = 0;
    for generation in 0..40_000 {
        if gate.set(state(Phase::Fenced, generation * 2 + 1)).open_connections == 0 {
            stops += 1;
            stopped.store(true, Ordering::SeqCst);
            thread::yield_now();
            stopped.store(false, Ordering::SeqCst);
        }
        gate.set(state(Phase::Awake, generation * 2 + 2));
        thread::yield_now();
        if stops > 2_000 {
            break;
        }
    }
    done.store(true, Ordering::SeqCst);
    let through: u32 = arrivals.into_iter().map(|arrival| arrival.join().unwrap()).sum();
    assert!(stops > 100 && through > 100, "{stops} stops, {through} arrivals: this tried nothing");
    assert_eq!(gate.counts(), Counts::default());
}

#[test]
fn a_wake_is_asked_for_once_a_second_by_those_who_want_it() {
    let gate = gate();
    gate.set(state(Phase::Asleep, 1));
    let mut scan = enter(&gate, Kind::Connection);
    assert!(gate.wake_due().is_none(), "a scan wants nothing");
    scan.want();
    let mut more = enter(&gate, Kind::Connection);
    more.want();
    assert_eq!(gate.wake_due().unwrap().detail, "port 1");
    assert!(gate.wake_due().is_none(), "told already");
    gate.ask_again();
    assert!(gate.wake_due().is_some(), "a new link has not heard it");
    gate.set(state(Phase::Waking, 2));
    assert!(gate.wake_due().is_none());
    gate.set(state(Phase::Asleep, 3));
    assert!(gate.wake_due().is_some(), "it fell asleep again, and they still wait");
    drop((scan, more));
    gate.ask_again();
    assert!(gate.wake_due().is_none(), "they have left");
    gate.want_for(Duration::from_secs(60), Wanter::from(&visitor(Kind::Request)));
    assert!(gate.wake_due().is_some());
}

#[test]
fn one_search_at_a_time_and_its_answer_counts_for_this_waking_only() {
    let gate = gate();
    gate.set(state(Phase::Asleep, 1));
    assert!(!gate.begin_probe(22), "there is nothing to look for");
    gate.set(state(Phase::Waking, 2));
    let mut waits = enter(&gate, Kind::Connection);
    let mut other = gate.enter(visitor(Kind::Connection), 23, 100).unwrap();
    assert!(gate.begin_probe(22) && !gate.begin_probe(22) && gate.begin_probe(23));
    let at = gate.probe(22).unwrap();
    let before_it_moved = Arc::from([Place::parse("192.0.2.9").unwrap()]);
    gate.answered(22, &before_it_moved);
    assert_eq!(waits.look(), Standing::Wait);
    gate.answered(22, &at);
    assert_eq!((waits.look(), other.look()), (Standing::Through, Standing::Wait));
    assert!(gate.probe(22).is_none(), "the search is over");
    gate.set(state(Phase::Asleep, 3));
    gate.set(state(Phase::Waking, 4));
    assert_eq!(enter(&gate, Kind::Connection).look(), Standing::Wait);
    assert!(gate.begin_probe(22));
}

#[test]
fn one_that_cannot_reach_a_target_that_went_waits_again() {
    let gate = gate();
    gate.set(state(Phase::Awake, 1));
    let mut visit = enter(&gate, Kind::Connection);
    assert!(!visit.park_again(), "the target is there as far as anybody knows");
    gate.set(state(Phase::Asleep, 2));
    assert!(visit.park_again());
    assert_eq!(gate.counts(), counts(0, 0, 1));
}

#[test]
fn a_port_that_answered_once_while_it_was_starting_has_to_answer_again() {
    let gate = gate();
    gate.set(state(Phase::Waking, 1));
    let mut visit = enter(&gate, Kind::Connection);
    assert!(gate.begin_probe(22));
    gate.answered(22, &gate.probe(22).unwrap());
    assert!(gate.probe(22).is_none() && visit.look() == Standing::Through);
    assert!(visit.park_again());
    assert_eq!((visit.look(), gate.begin_probe(22)), (Standing::Wait, true));
}

#[test]
fn a_request_that_became_a_connection_is_counted_once() {
    let gate = gate();
    gate.set(state(Phase::Awake, 1));
    let mut visit = enter(&gate, Kind::Request);
    gate.set(state(Phase::Fenced, 2));
    visit.become_connection(visitor(Kind::Connection));
    assert_eq!(gate.counts(), counts(1, 0, 0));
    drop(visit);
    assert_eq!(gate.counts(), Counts::default());
}

#[test]
fn a_fence_that_is_taken_back_is_no_activity_and_a_wake_is() {
    let gate = gate();
    gate.set(state(Phase::Awake, 1));
    let start = now_ms();
    while now_ms() < start + 20 {
        thread::yield_now();
    }
    gate.set(state(Phase::Fenced, 2));
    gate.set(state(Phase::Awake, 3));
    assert!(gate.idle_ms() >= 20);
    gate.set(state(Phase::Waking, 4));
    gate.set(state(Phase::Awake, 5));
    assert!(gate.idle_ms() < 20);
}

#[test]
fn there_is_room_for_so_many_and_no_more() {
    let gate = gate();
    gate.set(state(Phase::Asleep, 1));
    let first = gate.enter(visitor(Kind::Connection), 22, 1);
    assert!(matches!(gate.enter(visitor(Kind::Connection), 22, 1), Err(Full)));
    drop(first);
    assert!(gate.enter(visitor(Kind::Connection), 22, 1).is_ok());
}

#[test]
fn bytes_and_activity_outlive_the_connection_and_holders_are_named_busiest_first() {
    let gate = gate();
    gate.set(state(Phase::Awake, 1));
    let (quiet, busy) = (enter(&gate, Kind::Connection), enter(&gate, Kind::Connection));
    quiet.visitor().moved(Side::Server, 40);
    busy.visitor().moved(Side::Client, 1000);
    let report = gate.report();
    assert_eq!((report.bytes_up, report.bytes_down, report.open_connections), (1000, 40, 2));
    let told: Vec<_> = report.holders.iter().map(|one| (one.bytes_last_minute, one.counts)).collect();
    assert_eq!(told, [(1000, true), (40, false)]);
    drop((quiet, busy));
    let report = gate.report();
    assert_eq!((report.bytes_up, report.bytes_down, report.open_connections), (1000, 40, 0));
    assert!(report.holders.is_empty() && report.idle_ms < 1_000);
}
