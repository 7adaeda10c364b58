//! Power cuts and failures at every step, on a disk that forgets what was not synced.

mod aside;
mod compacted;
mod full;
mod long;

use std::collections::BTreeMap;

use bytes::Bytes;
use common::disk::{
    Disk,
    model::{Fate, Model},
};

use super::*;

const FULL: Full = Full {
    bytes: 600,
    records: 6,
    marks_bytes: 900,
    reserve_bytes: 700,
    worth: compact::Worth { after: Duration::ZERO, bytes: 0 },
};

fn open(model: &Model) -> io::Result<(Arc<Store>, Writer)> {
    open_with(model, FULL)
}

fn open_with(model: &Model, full: Full) -> io::Result<(Arc<Store>, Writer)> {
    let disk: Arc<dyn Disk> = Arc::new(model.clone());
    let (store, found) = recover(disk, Path::new("/queue"))?;
    assert_eq!(found.lost_bytes, 0, "nothing is damaged, only torn");
    let store = Arc::new(store);
    let writer = Writer::new(Arc::clone(&store), &found, full);
    Ok((store, writer))
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

fn incoming(agent: &str, text: &str) -> Incoming {
    let body = Bytes::from(text.to_owned()).into();
    Incoming {
        agent: agent.to_owned(),
        head: Bytes::from_static(b"POST /intake/\n"),
        body,
        time_ms: 1,
        ..Incoming::default()
    }
}

/// What was told, by agent: what was accepted for sure, what maybe was, and how many are gone for sure.
#[derive(Clone, Debug, Default)]
struct Told {
    accepted: Vec<String>,
    delivered: usize,
}

type Tale = BTreeMap<String, Told>;

/// A life of a queue: groups of several agents come, some are delivered, and all is written down at times.
/// Returns what was under way when it ended.
fn life(store: &Store, writer: &mut Writer, tale: &mut Tale, round: usize) -> Option<Vec<(String, String)>> {
    for step in 0..12_usize {
        let group: Vec<(String, String)> = (0..=step % 3)
            .map(|index| {
                let agent = format!("agent {}", (step + index * index) % 4);
                (agent, format!("{round}/{step}/{index} {}", "x".repeat(step * 3)))
            })
            .collect();
        let asked: Vec<_> = group.iter().map(|(agent, text)| incoming(agent, text)).collect();
        if writer.append(&asked).is_err() {
            return Some(group);
        }
        for (agent, text) in group {
            tale.entry(agent).or_default().accepted.push(text);
        }
        for agent in [0, 1, 2, 3, 0, 1, 2, 3] {
            if !(step + agent as usize).is_multiple_of(3)
                && let Ok(Next::Record(stored)) = store.next(agent)
            {
                let name = store.state().ledger.agent(agent).name;
                let told = tale.entry(name).or_default();
                let text = String::from_utf8(stored.body.to_vec()).unwrap();
                assert!(told.accepted.contains(&text), "{text} was never accepted");
                told.delivered += 1;
                store.done(agent, stored.position, stored.segment, End::Delivered);
            }
        }
        if step % 3 == 2 {
            writer.settle().ok();
        }
    }
    None
}

/// Reads everything that is left of an agent.
fn drain(store: &Store, agent: u32) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        match store.next(agent).unwrap() {
            Next::Record(stored) => {
                texts.push(String::from_utf8(stored.body.to_vec()).unwrap());
                store.done(agent, stored.position, stored.segment, End::Delivered);
            }
            Next::Lost(position, _) => panic!("lost up to {position:?}"),
            Next::Empty => return texts,
            Next::Busy => panic!("one alone always may"),
        }
    }
}

/// Everything acknowledged is there or was delivered; order is kept; the balance says so.
fn check(store: &Store, tale: &Tale, under_way: &[(String, String)], case: &str) {
    let agents: Vec<_> = store.state().ledger.agents().map(|(n, a)| (n, a.clone())).collect();
    for (number, agent) in agents {
        let told = tale.get(&agent.name).cloned().unwrap_or_default();
        let mut expected = told.accepted.clone();
        expected
            .extend(under_way.iter().filter(|(name, _)| *name == agent.name).map(|(_, text)| text.clone()));
        let balance = agent.balance();
        assert_eq!(balance.accepted, balance.delivered + balance.queued + balance.dead_lettered, "{case}");
        assert!(size(balance.accepted) >= told.accepted.len(), "{case}: {} has lost some", agent.name);
        assert!(size(balance.accepted) <= expected.len(), "{case}: {} has too many", agent.name);
        let delivered = size(balance.delivered);
        assert!(delivered <= told.delivered, "{case}: {} skips some", agent.name);
        let left = drain(store, number);
        assert_eq!(left, expected[delivered..size(balance.accepted)], "{case}: {}", agent.name);
    }
    for (name, told) in tale.iter().filter(|(_, told)| !told.accepted.is_empty()) {
        assert!(store.state().ledger.number(name).is_some(), "{case}: {name} with {told:?} is forgotten");
    }
}

#[test]
fn after_a_power_cut_at_any_step_nothing_acknowledged_is_lost() {
    let calm = Model::default();
    let (store, mut writer) = open(&calm).unwrap();
    let mut tale = Tale::default();
    assert!(life(&store, &mut writer, &mut tale, 0).is_none());
    check(&store, &tale, &[], "calm");
    let steps = calm.steps();
    assert!(steps > 150, "{steps}");
    assert!(calm.removed() > 0, "files were removed meanwhile");
    for seed in 0..12 {
        for step in 0..steps {
            let case = format!("cut at {step}, seed {seed}");
            let model = Model::doomed(step, Fate::Cut, seed);
            let mut tale = Tale::default();
            let mut under_way = None;
            if let Ok((store, mut writer)) = open(&model) {
                under_way = life(&store, &mut writer, &mut tale, 0);
            }
            model.reboot();
            let (store, _) = open(&model).unwrap_or_else(|error| panic!("{case}: {error}"));
            check(&store, &tale, under_way.as_deref().unwrap_or_default(), &case);
        }
    }
}

#[test]
fn a_second_power_cut_during_the_next_life_loses_nothing_either() {
    for seed in 0..300_u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let model = Model::doomed(random.usize(20..150), Fate::Cut, seed);
        let mut tale = Tale::default();
        for round in 0..4 {
            let case = format!("seed {seed}, round {round}");
            let mut under_way = None;
            if let Ok((store, mut writer)) = open(&model) {
                under_way = life(&store, &mut writer, &mut tale, round);
            }
            model.reboot();
            let (store, _) = open(&model).unwrap_or_else(|error| panic!("{case}: {error}"));
            // What was under way may have been kept: from then on it counts.
            settle_tale(&store, &mut tale, under_way.unwrap_or_default());
            model.doom(random.usize(10..120));
            let quiet = Model::copy(&model);
            let (copy, _) = open(&quiet).unwrap();
            check(&copy, &tale, &[], &case);
        }
    }
}

fn settle_tale(store: &Store, tale: &mut Tale, under_way: Vec<(String, String)>) {
    let state = store.state();
    for (_, agent) in state.ledger.agents() {
        let told = tale.entry(agent.name.clone()).or_default();
        let mut maybe = under_way.iter().filter(|(name, _)| *name == agent.name);
        while (told.accepted.len() as u64) < agent.balance().accepted {
            told.accepted.push(maybe.next().unwrap().1.clone());
        }
        // Those whose mark was not durable come once more.
        told.delivered = size(agent.balance().delivered);
    }
}

#[test]
fn a_failure_at_any_step_refuses_and_heals() {
    let calm = Model::default();
    let (store, mut writer) = open(&calm).unwrap();
    life(&store, &mut writer, &mut Tale::default(), 0);
    let opening = 4;
    for seed in 0..24_u64 {
        for step in opening..calm.steps() {
            let case = format!("failure at {step}, seed {seed}");
            let model = Model::doomed(step, Fate::Fail(size(seed % 6)), seed);
            let (store, mut writer) = open(&model).unwrap();
            let mut tale = Tale::default();
            // Sooner or later it is over: it goes on in the same process.
            let healed = (0..8).any(|round| life(&store, &mut writer, &mut tale, round).is_none());
            assert!(healed, "{case}: it does not heal");
            model.reboot();
            let (store, _) = open(&model).unwrap();
            check(&store, &tale, &[], &case);
        }
    }
}

#[test]
fn a_disk_that_is_full_for_a_while_refuses_and_takes_it_up_again() {
    let model = Model::default();
    let (store, mut writer) = open(&model).unwrap();
    writer.append(&[incoming("a", "1")]).unwrap();
    model.fill(true);
    for _ in 0..3 {
        assert!(writer.append(&[incoming("a", "no")]).is_err());
        assert!(writer.append(&[incoming("b", "no")]).is_err());
    }
    model.fill(false);
    writer.append(&[incoming("a", "2"), incoming("b", "3")]).unwrap();
    assert_eq!(store.state().ledger.balance().accepted, 3);
    model.reboot();
    let (store, _) = open(&model).unwrap();
    assert_eq!(
        (drain(&store, 0), drain(&store, 1)),
        (vec!["1".to_owned(), "2".to_owned()], vec!["3".to_owned()])
    );
}

#[test]
fn a_long_queue_is_opened_without_reading_what_is_sealed() {
    let opening = |groups: usize| {
        let model = Model::default();
        let (store, mut writer) = open(&model).unwrap();
        for number in 0..groups {
            writer.append(&[incoming("a", &format!("{number} {}", "x".repeat(700)))]).unwrap();
        }
        drop((store, writer));
        let before = model.steps();
        let (store, _) = open(&model).unwrap();
        assert_eq!(store.state().ledger.balance().queued, groups as u64);
        model.steps() - before
    };
    assert_eq!(opening(10), opening(100));
}

#[test]
fn an_index_that_is_damaged_or_gone_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let (store, found) = recover(Arc::new(FileSystem), folder.path()).unwrap();
        let store = Arc::new(store);
        (Arc::clone(&store), Writer::new(store, &found, FULL))
    };
    let (_, mut writer) = open();
    for number in 0..20 {
        writer.append(&[incoming("a", &format!("{number} {}", "x".repeat(300)))]).unwrap();
    }
    let index = folder.path().join(format!("{:016}.idx", 1));
    let mut bytes = std::fs::read(&index).unwrap();
    bytes[3] ^= 1;
    std::fs::write(&index, bytes).unwrap();
    std::fs::remove_file(folder.path().join(format!("{:016}.idx", 2))).unwrap();
    let (store, _) = open();
    assert_eq!(drain(&store, 0).len(), 20);
}

#[test]
fn a_record_that_is_damaged_is_told_and_passed_over_and_the_sheet_still_balances() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let (store, found) = recover(Arc::new(FileSystem), folder.path()).unwrap();
        let store = Arc::new(store);
        (Arc::clone(&store), Writer::new(store, &found, FULL))
    };
    let (_, mut writer) = open();
    for number in 0..9 {
        writer.append(&[incoming("a", &format!("{number} {}", "x".repeat(300)))]).unwrap();
    }
    let file = folder.path().join(format!("{:016}.log", 1));
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[frame::FILE_HEAD + 200] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (store, _) = open();
    let mut came = 0;
    loop {
        match store.next(0).unwrap() {
            Next::Record(stored) => {
                came += 1;
                store.done(0, stored.position, stored.segment, End::Delivered);
            }
            Next::Lost(position, near) => {
                store.done(0, position, near, End::Dead);
            }
            Next::Empty | Next::Busy => break,
        }
    }
    let balance = store.state().ledger.balance();
    assert_eq!((came, balance.accepted, balance.delivered, balance.dead_lettered), (8, 9, 8, 1));
    assert_eq!(store.state().ledger.queued_bytes(), 0);
}

#[test]
fn what_was_told_to_have_failed_does_not_come_back_behind_what_was_accepted_later() {
    for seed in 0..60_u64 {
        for more in 0..6 {
            let model = Model::doomed(usize::MAX, Fate::Cut, seed);
            let (store, mut writer) = open(&model).unwrap();
            writer.append(&[incoming("a", "1")]).unwrap();
            // The write succeeds, its fsync and what comes then fails.
            model.fail(1, more);
            assert!(writer.append(&[incoming("a", "refused")]).is_err());
            assert!((0..8).any(|_| writer.append(&[incoming("a", "2")]).is_ok()));
            drop((store, writer));
            model.reboot();
            let (store, _) = open(&model).unwrap();
            assert_eq!(drain(&store, 0), ["1", "2"], "seed {seed}, {more} more");
        }
    }
}
