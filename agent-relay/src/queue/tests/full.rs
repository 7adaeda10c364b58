//! A disk that the queue itself filled: what is delivered has to make room again.

use std::{ops::Range, path::PathBuf};

use super::*;

const AGENTS: u32 = 5;

/// Sends until nothing fits any more, a few times over; returns what was accepted, by agent.
fn fill(writer: &mut Writer, most: usize, tale: &mut BTreeMap<u32, Vec<String>>) {
    let mut refused = 0;
    for number in 0_u32.. {
        let (agent, size) = (number % AGENTS, [most, most / 2, 0][refused % 3]);
        let text = format!("{number} {}", "x".repeat(size));
        if writer.append(&[incoming(&format!("agent {agent}"), &text)]).is_ok() {
            tale.entry(agent).or_default().push(text);
        } else {
            refused += 1;
        }
        if refused == 12 {
            return;
        }
    }
}

/// Delivers this much of each of these agents, as it is told.
fn deliver(store: &Store, agents: Range<u32>, most: usize, delivered: &mut BTreeMap<u32, Vec<String>>) {
    for agent in agents {
        for _ in 0..most {
            let Ok(Next::Record(stored)) = store.next(agent) else { break };
            delivered.entry(agent).or_default().push(String::from_utf8(stored.body.to_vec()).unwrap());
            store.done(agent, stored.position, stored.segment, End::Delivered);
        }
    }
}

/// Fills a disk of this size, drains the queue, and sees whether it goes on.
fn fill_and_drain(full: Full, room: usize, most: usize, restarts: bool, case: &str) {
    let model = Model::default();
    let (mut store, mut writer) = open_with(&model, full).unwrap();
    model.limit(room);
    let mut accepted = BTreeMap::new();
    fill(&mut writer, most, &mut accepted);
    let mut delivered = BTreeMap::new();
    // A part is done before more is sent, so that what the marks need is wanted by others as well.
    deliver(&store, 0..AGENTS, 1, &mut delivered);
    writer.settle().ok();
    fill(&mut writer, most, &mut accepted);
    if restarts {
        drop((store, writer));
        (store, writer) = open_with(&model, full).unwrap();
        // What was not written down comes once more.
        for agent in 0..AGENTS {
            let done = store.state().ledger.agent(agent).done.number;
            delivered.entry(agent).or_default().truncate(size(done));
        }
    }
    // One by one, while an agent keeps every file from being removed.
    for step in 0..200 {
        let agent = 1 + step % (AGENTS - 1);
        deliver(&store, agent..agent + 1, 1, &mut delivered);
        writer.settle().unwrap_or_else(|error| panic!("{case}, little by little: {error}"));
    }
    deliver(&store, 0..AGENTS, usize::MAX, &mut delivered);
    assert_eq!(delivered, accepted, "{case}");
    writer.settle().unwrap_or_else(|error| panic!("{case}: {error}"));
    assert!(
        (0..4).any(|_| writer.append(&[incoming("agent 0", "last")]).is_ok()),
        "{case}: there is no room"
    );
    drop((store, writer));
    model.reboot();
    let (store, _) = open_with(&model, full).unwrap();
    let balance = store.state().ledger.balance();
    let sent = accepted.values().map(Vec::len).sum::<usize>();
    assert_eq!((size(balance.accepted), balance.queued), (sent + 1, 1), "{case}");
    assert_eq!(drain(&store, 0), ["last"], "{case}");
}

#[test]
fn deliveries_alone_empty_it_wherever_it_became_full() {
    // Files of which one is a small part of the disk, a large one, and all of it.
    for bytes in [600, 4_000, 1 << 20] {
        for room in (9_500..12_500_usize).step_by(20) {
            for (most, restarts) in [(200, false), (200, true), (0, false), (0, true)] {
                let full = Full { bytes, records: 1000, marks_bytes: 1 << 20, ..FULL };
                let case = format!("{room} bytes, files of {bytes}, texts of {most}, restarts: {restarts}");
                fill_and_drain(full, room, most, restarts, &case);
            }
        }
    }
}

/// Anything, in any order, on a disk that is too small for it. Returns how often that was refused, and what was under
/// way when the power was cut.
fn cramped(
    model: &Model,
    (store, writer): (&Store, &mut Writer),
    tale: &mut Tale,
    random: &mut fastrand::Rng,
    life: usize,
) -> (usize, Option<Vec<(String, String)>>) {
    let mut refused = 0;
    for step in 0..80 {
        match random.u8(0..10) {
            0..6 => {
                let mut one = |index: usize| {
                    let text = format!("{life}/{step}/{index} {}", "x".repeat(random.usize(0..200)));
                    (format!("agent {}", random.u32(0..AGENTS)), text)
                };
                let group: Vec<_> = (0..1 + step % 3).map(&mut one).collect();
                let asked: Vec<_> = group.iter().map(|(agent, text)| incoming(agent, text)).collect();
                if writer.append(&asked).is_ok() {
                    for (agent, text) in group {
                        tale.entry(agent).or_default().accepted.push(text);
                    }
                } else if model.is_cut() {
                    return (refused, Some(group));
                } else {
                    refused += 1;
                }
            }
            6..9 => {
                let agent = random.u32(0..AGENTS);
                for _ in 0..random.usize(0..8) {
                    let Ok(Next::Record(stored)) = store.next(agent) else { break };
                    tale.entry(store.state().ledger.agent(agent).name).or_default().delivered += 1;
                    store.done(agent, stored.position, stored.segment, End::Delivered);
                }
            }
            _ => {
                writer.settle().ok();
            }
        }
    }
    (refused, None)
}

#[test]
fn power_cuts_on_a_disk_that_is_too_small_lose_nothing_and_bring_nothing_back() {
    let mut refused = 0;
    for seed in 0..400_u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let model = Model::doomed(usize::MAX, Fate::Cut, seed);
        model.limit(random.usize(9_500..14_000));
        let full = Full { bytes: [600, 4_000, 1 << 20][random.usize(0..3)], records: 1000, ..FULL };
        let mut tale = Tale::default();
        for life in 0..6 {
            let case = format!("seed {seed}, life {life}");
            model.doom(random.usize(20..400));
            let mut under_way = None;
            if let Ok((store, mut writer)) = open_with(&model, full) {
                let told = cramped(&model, (&store, &mut writer), &mut tale, &mut random, life);
                refused += told.0;
                under_way = told.1;
            }
            model.reboot();
            let (store, _) = open_with(&model, full).unwrap_or_else(|error| panic!("{case}: {error}"));
            settle_tale(&store, &mut tale, under_way.unwrap_or_default());
            let (copy, _) = open_with(&Model::copy(&model), full).unwrap();
            check(&copy, &tale, &[], &case);
        }
    }
    assert!(refused > 1000, "{refused}");
}

#[test]
fn the_number_of_a_file_that_was_never_sealed_is_not_used_again() {
    let model = Model::default();
    let full = Full { records: 1, ..FULL };
    let (store, mut writer) = open_with(&model, full).unwrap();
    writer.append(&[incoming("a", "1")]).unwrap();
    writer.marking.reserve(&store).unwrap();
    for text in ["2", "3"] {
        // The index of the file before is the first that the next one writes.
        model.fail(0, 0);
        writer.append(&[incoming("a", text)]).unwrap();
    }
    let (store, mut writer) = open_with(&model, full).unwrap();
    assert_eq!(drain(&store, 0), ["1", "2", "3"]);
    writer.settle().unwrap();
    let names = model.list(Path::new("/queue")).unwrap();
    assert!(
        !names.iter().any(|name| name.ends_with(".log")),
        "all are gone, although none was sealed: {names:?}"
    );
    let (_, mut writer) = open_with(&model, full).unwrap();
    writer.append(&[incoming("a", "4")]).unwrap();
    let (store, _) = open_with(&model, full).unwrap();
    assert_eq!(drain(&store, 0), ["4"]);
}

#[test]
fn a_file_stays_that_says_how_much_of_a_needed_one_counts() {
    for seed in 0..60 {
        let model = Model::doomed(usize::MAX, Fate::Cut, seed);
        let (store, mut writer) = open(&model).unwrap();
        writer.append(&[incoming("needed", "1"), incoming("refused", "2"), incoming("done", "3")]).unwrap();
        assert_eq!((drain(&store, 1), drain(&store, 2)), (vec!["2".to_owned()], vec!["3".to_owned()]));
        // The reserve has grown with the agents.
        writer.marking.reserve(&store).unwrap();
        // Written, but its fsync, the cut that mends it and the index of this file fail.
        model.fail(1, 2);
        assert!(writer.append(&[incoming("refused", "no")]).is_err());
        writer.append(&[incoming("done", "4")]).unwrap();
        assert_eq!(drain(&store, 2), ["4"]);
        // Both are files of before.
        drop(writer);
        let (store, mut writer) = open(&model).unwrap();
        assert_eq!(drain(&store, 2), ["3", "4"]);
        writer.settle().unwrap();
        drop((store, writer));
        model.reboot();
        let (store, _) = open(&model).unwrap();
        assert_eq!(drain(&store, 0), ["1"], "seed {seed}");
        assert_eq!(drain(&store, 1), ["2"], "seed {seed}: what was told to have failed is back");
    }
}

#[test]
fn what_has_lost_its_index_is_read_although_there_is_no_room_for_another() {
    let model = Model::default();
    let (_, mut writer) = open(&model).unwrap();
    for number in 0..20 {
        writer.append(&[incoming("a", &format!("{number} {}", "x".repeat(300)))]).unwrap();
    }
    for number in 1..4 {
        model.remove(&PathBuf::from(format!("/queue/{number:016}.idx"))).unwrap();
    }
    let (store, mut writer) = open(&model).unwrap();
    model.fill(true);
    assert_eq!(drain(&store, 0).len(), 20);
    model.fill(false);
    writer.settle().unwrap();
    let names = model.list(Path::new("/queue")).unwrap();
    assert!(!names.contains(&format!("{:016}.log", 1)), "{names:?}");
}

/// What the relay does with the first record of an agent: delivers it, or sets it aside, which it must once it was or
/// once others wait there.
fn serve(store: &Store, writer: &mut Writer, agent: &str, is_odd: bool) -> Option<()> {
    let (number, lane) = (store.state().ledger.number(agent)?, format!("{agent} /odd"));
    let Ok(Next::Record(stored)) = store.next(number) else { return None };
    let origin = stored.position.number;
    let end = if agent.ends_with('-') && (is_odd || store.belongs_aside(origin, &lane)) {
        let was_there = store.was_aside(origin, &lane);
        let moved = Incoming { origin: Some(origin), is_moved: true, ..incoming(&lane, "moved") };
        writer.append(&[moved]).ok()?;
        if was_there { store.end_before(number) } else { End::Moved }
    } else {
        End::Delivered
    };
    store.done(number, stored.position, stored.segment, end);
    Some(())
}

#[test]
fn what_is_set_aside_counts_once_on_a_disk_that_is_too_small() {
    for seed in 0..1000_u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let model = Model::doomed(usize::MAX, Fate::Cut, seed);
        model.limit(random.usize(9_500..14_000));
        let full = Full { bytes: [600, 4_000, 1 << 20][random.usize(0..3)], records: 1000, ..FULL };
        let mut told: u64 = 0;
        for life in 0..8 {
            let (store, mut writer) = open_with(&model, full).unwrap();
            for step in 0..random.usize(5..120) {
                let balance = store.state().ledger.balance();
                let waits = store.state().ledger.agents().map(|(_, agent)| agent.queued()).sum::<u64>();
                let case = format!("seed {seed}, life {life}, step {step}: {balance:?}, {waits} wait");
                assert_eq!((balance.accepted, balance.delivered + balance.queued), (told, told), "{case}");
                assert_eq!(balance.queued == 0, waits == 0, "{case}");
                let agent = format!("agent {} -", random.u32(0..3));
                match random.u8(0..10) {
                    0..4 => {
                        let text = "x".repeat(random.usize(0..200));
                        told += u64::from(writer.append(&[incoming(&agent, &text)]).is_ok());
                    }
                    4..7 => drop(serve(&store, &mut writer, &agent, random.bool())),
                    7..9 => drop(serve(&store, &mut writer, &format!("{agent} /odd"), false)),
                    _ => drop(writer.settle()),
                }
            }
        }
    }
}
