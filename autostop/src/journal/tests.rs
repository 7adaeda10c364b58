//! Crashes and failures at every step, on a disk that forgets what was not synced.

use common::disk::model::{Fate, Model};
use serde::Deserialize;

use super::*;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Port {
    rule: String,
    port: u16,
}

fn port(port: u16) -> Port {
    Port { rule: format!("rule \"{port}\"\n@5a17ed0f 1 2"), port }
}

fn ports(ports: impl IntoIterator<Item = u16>) -> Vec<Port> {
    ports.into_iter().map(port).collect()
}

fn open(model: &Model) -> Result<(Journal<Port>, Recovered<Port>), Error> {
    Journal::open_on(Box::new(model.clone()), Path::new("/state"), None, false)
}

/// What a journal is put through: appends of one and of several, and a rotation in between.
/// Returns what was acknowledged, and what was under way when it ended.
fn life(model: &Model) -> (Vec<Port>, Option<Vec<Port>>) {
    let mut known = Vec::new();
    let Ok((mut journal, recovered)) = open(model) else { return (known, None) };
    assert_eq!(recovered.records, []);
    for step in 1_u16..=6 {
        let mut next: Vec<Port> = known.clone();
        let done = if step == 4 {
            // The snapshot says the same with fewer records.
            next = next.split_off(1);
            journal.rotate(&next)
        } else {
            let records = ports(step * 10..step * 10 + step);
            next.extend(records.clone());
            journal.append(&records)
        };
        match done {
            Ok(()) => known = next,
            Err(_) => return (known, Some(next)),
        }
    }
    (known, None)
}

#[test]
fn after_a_crash_at_any_step_there_is_what_was_acknowledged() {
    let steps = Model::default();
    let (all, _) = life(&steps);
    let steps = steps.steps();
    assert!(steps > 20, "{steps}");
    for seed in 0..40 {
        for step in 0..steps {
            let model = Model::doomed(step, Fate::Cut, seed);
            let (known, under_way) = life(&model);
            assert!(model.is_cut(), "step {step}");
            assert!(known.len() <= all.len());
            model.reboot();
            let (mut journal, recovered) = open(&model).unwrap();
            let allowed = [Some(&known), under_way.as_ref()];
            assert!(
                allowed.contains(&Some(&recovered.records)),
                "step {step}, seed {seed}: {:?} is none of {allowed:?}",
                recovered.records
            );
            // It goes on from there, and again after the next crash.
            journal.append(&[port(1)]).unwrap();
            drop(journal);
            model.reboot();
            let (_, again) = open(&model).unwrap();
            assert_eq!(again.records, [recovered.records, ports([1])].concat());
            assert_eq!((again.torn_bytes, again.damage), (0, None));
        }
    }
}

#[test]
fn a_failure_at_any_step_leaves_it_usable_and_as_it_was() {
    let steps = Model::default();
    life(&steps);
    for seed in 0..40 {
        for step in 0..steps.steps() {
            let model = Model::doomed(step, Fate::Fail(0), seed);
            let mut known = Vec::new();
            // The one failure may be of the opening.
            let mut journal = open(&model).or_else(|_| open(&model)).unwrap().0;
            for step in 1_u16..=6 {
                let done = match step {
                    4 => journal.rotate(&known),
                    _ => journal.append(&[port(step)]),
                };
                if done.is_ok() && step != 4 {
                    known.push(port(step));
                }
            }
            assert!(known.len() >= 4);
            drop(journal);
            model.reboot();
            assert_eq!(open(&model).unwrap().1.records, known, "step {step}, seed {seed}");
        }
    }
}

#[test]
fn a_disk_that_is_full_for_a_while_gives_errors_and_takes_it_up_again() {
    let model = Model::default();
    let (mut journal, _) = open(&model).unwrap();
    journal.append(&[port(1)]).unwrap();
    model.fill(true);
    for _ in 0..3 {
        let error = journal.append(&[port(2)]).unwrap_err();
        assert!(error.is_full(), "{error}");
        assert!(journal.rotate(&[port(1)]).is_err());
    }
    model.fill(false);
    journal.append(&[port(3)]).unwrap();
    model.reboot();
    assert_eq!(open(&model).unwrap().1.records, ports([1, 3]));
}

#[test]
fn a_torn_tail_is_told_and_cut_off_at_any_byte() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE);
    let (mut journal, _) = Journal::open(folder.path()).unwrap();
    journal.append(&ports([1])).unwrap();
    let whole = usize::try_from(journal.bytes()).unwrap();
    journal.append(&ports([2, 3])).unwrap();
    drop(journal);
    let bytes = std::fs::read(&file).unwrap();
    for at in whole..bytes.len() {
        std::fs::write(&file, &bytes[..at]).unwrap();
        let (mut journal, recovered) = Journal::open(folder.path()).unwrap();
        assert_eq!(recovered.records, ports([1]), "torn at {at}");
        assert_eq!(recovered.torn_bytes, (at - whole) as u64);
        journal.append(&ports([4])).unwrap();
        drop(journal);
        assert_eq!(Journal::<Port>::open(folder.path()).unwrap().1.records, ports([1, 4]));
    }
}

#[test]
fn damage_is_refused_and_then_salvaged_with_the_file_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE);
    let (mut journal, _) = Journal::open(folder.path()).unwrap();
    for number in 1..=3 {
        journal.append(&ports([number])).unwrap();
    }
    drop(journal);
    let mut damaged = std::fs::read(&file).unwrap();
    let second = damaged.windows(10).position(|bytes| bytes == b"\"port\":2}]").unwrap();
    damaged[second + 7] ^= 1;
    std::fs::write(&file, &damaged).unwrap();

    let Err(error) = Journal::<Port>::open(folder.path()) else { panic!("opened") };
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), damaged, "a refusal changes nothing");

    let (mut journal, recovered) = Journal::salvage(folder.path()).unwrap();
    assert_eq!(recovered.records, ports([1, 3]));
    let damage = recovered.damage.unwrap();
    assert_eq!(damage.lost_groups, 1);
    assert_eq!(std::fs::read(&damage.kept).unwrap(), damaged);
    journal.append(&ports([4])).unwrap();
    drop(journal);
    assert_eq!(Journal::<Port>::open(folder.path()).unwrap().1.records, ports([1, 3, 4]));
    assert!(damage.kept.exists());
}

#[test]
fn another_process_is_kept_out() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::<Port>::open(&folder.path().join("new/folder")).unwrap();
    let Err(error) = Journal::<Port>::open(&folder.path().join("new/folder")) else { panic!("opened") };
    assert!(matches!(error, Error::InUse(_)), "{error}");
    drop(journal);
    Journal::<Port>::open(&folder.path().join("new/folder")).unwrap();
}

#[test]
fn records_of_another_kind_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::<u16>::open(folder.path()).unwrap();
    journal.append(&[7]).unwrap();
    drop(journal);
    let Err(error) = Journal::<Port>::salvage(folder.path()) else { panic!("opened") };
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
    assert_eq!(Journal::<u16>::open(folder.path()).unwrap().1.records, [7]);
}

#[test]
fn a_rotation_makes_it_short_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(folder.path()).unwrap();
    for _ in 0..100 {
        journal.append(&ports([1])).unwrap();
    }
    let before = journal.bytes();
    journal.rotate(&ports([1])).unwrap();
    assert!(journal.bytes() * 10 < before);
    assert_eq!(journal.bytes(), std::fs::metadata(folder.path().join(FILE)).unwrap().len());
    journal.append(&ports([2])).unwrap();
    drop(journal);
    assert_eq!(Journal::<Port>::open(folder.path()).unwrap().1.records, ports([1, 2]));
}
