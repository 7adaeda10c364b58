//! Records that are set aside, and those that come twice from the relay before this one, through power cuts.

use super::*;

const LANE: &str = "a - - /odd";

fn moved(stored: &Stored) -> Incoming {
    Incoming {
        agent: LANE.to_owned(),
        head: stored.head.clone(),
        body: stored.body.clone(),
        time_ms: stored.time_ms,
        is_moved: true,
        origin: Some(stored.position.number),
        ..Incoming::default()
    }
}

/// What was delivered, from either lane.
#[derive(Default)]
struct Sent {
    even: Vec<String>,
    odd: Vec<String>,
}

/// Delivers what is even, and sets aside what is odd, of which some is delivered from there, until the disk fails.
fn part(store: &Store, writer: &mut Writer, sent: &mut Sent) -> Option<()> {
    let agent = store.state().ledger.number("a - -")?;
    while let Next::Record(stored) = store.next(agent).ok()? {
        let number = stored.position.number;
        let end = if number % 2 == 1 {
            writer.append(&[moved(&stored)]).ok()?;
            End::Moved
        } else {
            sent.even.push(String::from_utf8(stored.body.to_vec()).unwrap());
            End::Delivered
        };
        store.done(agent, stored.position, stored.segment, end);
        let lane = store.state().ledger.number(LANE)?;
        if number % 5 == 0
            && let Next::Record(stored) = store.next(lane).ok()?
        {
            sent.odd.push(String::from_utf8(stored.body.to_vec()).unwrap());
            store.done(lane, stored.position, stored.segment, End::Delivered);
        }
        if number % 3 == 0 {
            writer.settle().ok()?;
        }
    }
    writer.settle().ok()
}

fn life(store: &Store, writer: &mut Writer, accepted: &mut usize, sent: &mut Sent) -> Option<()> {
    for round in 0..3 {
        for _ in 0..4 {
            let text = format!("{} {}", *accepted + 1, "x".repeat(100));
            writer.append(&[incoming("a - -", &text)]).ok()?;
            *accepted += 1;
        }
        if round > 0 {
            part(store, writer, sent)?;
        }
    }
    Some(())
}

#[test]
fn what_is_set_aside_stands_there_once_and_in_order_after_a_cut_at_any_step() {
    let calm = Model::default();
    let (store, mut writer) = open(&calm).unwrap();
    life(&store, &mut writer, &mut 0, &mut Sent::default()).unwrap();
    let steps = calm.steps();
    assert!(steps > 60, "{steps}");
    for seed in 0..8 {
        for step in 0..steps {
            let case = format!("cut at {step}, seed {seed}");
            let model = Model::doomed(step, Fate::Cut, seed);
            let (mut accepted, mut sent) = (0, Sent::default());
            if let Ok((store, mut writer)) = open(&model) {
                life(&store, &mut writer, &mut accepted, &mut sent);
            }
            model.reboot();
            let (store, mut writer) = open(&model).unwrap();
            let balance = store.state().ledger.balance();
            let there = usize::try_from(balance.accepted).unwrap();
            assert!((accepted..=accepted + 1).contains(&there), "{case}: {there} of {accepted}");
            assert_eq!(balance.accepted, balance.delivered + balance.queued, "{case}");
            part(&store, &mut writer, &mut sent);
            let lane = store.state().ledger.number(LANE);
            let aside = lane.map_or(Vec::new(), |lane| drain(&store, lane));
            let number = |text: &String| text.split(' ').next().unwrap().parse::<usize>().unwrap();
            let odd: Vec<usize> = (1..=there).filter(|number| number % 2 == 1).collect();
            let left: Vec<usize> = aside.iter().map(number).collect();
            assert!(odd.ends_with(&left), "{case}: {left:?} of {odd:?}");
            let gone = &odd[..odd.len() - left.len()];
            assert!(
                gone.iter().all(|gone| sent.odd.iter().map(number).any(|odd| odd == *gone)),
                "{case}: {gone:?}"
            );
            let mut even: Vec<usize> = sent.even.iter().map(number).collect();
            even.sort_unstable();
            even.dedup();
            assert_eq!(even, (1..=there).filter(|number| number % 2 == 0).collect::<Vec<_>>(), "{case}");
            let balance = store.state().ledger.balance();
            assert_eq!((balance.accepted, balance.queued), (there as u64, 0), "{case}");
        }
    }
}

#[test]
fn what_comes_twice_from_the_relay_before_this_one_is_kept_once_after_a_cut_at_any_step() {
    let numbered = |number: u64| Incoming {
        origin: Some(number * 10),
        ..incoming("relay 0f -", &format!("{number} {}", "x".repeat(200)))
    };
    let calm = Model::default();
    let (_, mut writer) = open(&calm).unwrap();
    (1..=9).for_each(|number| drop(writer.append(&[numbered(number)]).unwrap()));
    for seed in 0..8 {
        for step in 0..calm.steps() {
            let case = format!("cut at {step}, seed {seed}");
            let model = Model::doomed(step, Fate::Cut, seed);
            let mut told = 0;
            if let Ok((_, mut writer)) = open(&model) {
                while told < 9 && writer.append(&[numbered(told + 1)]).is_ok() {
                    told += 1;
                }
            }
            model.reboot();
            let (store, mut writer) = open(&model).unwrap();
            // It sends the last one again that it has no answer to, and the one before for good measure.
            for number in [told.max(1), told + 1, told + 1, told + 2] {
                writer.append(&[numbered(number), numbered(number)]).unwrap();
            }
            let numbers: Vec<u64> = drain(&store, 0)
                .iter()
                .map(|text| text.split(' ').next().unwrap().parse().unwrap())
                .collect();
            assert_eq!(numbers, (1..=told + 2).collect::<Vec<_>>(), "{case}");
        }
    }
}

#[tokio::test]
async fn what_arrives_while_the_last_one_is_being_done_is_not_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let quota = Quota { bytes: 1 << 20, agent_bytes: 1 << 20, dead_bytes: 1 << 20 };
    let queue = Queue::open(folder.path(), quota).unwrap();
    let keep = || {
        queue.keep(
            "a - -".to_owned(),
            Bytes::from_static(b"POST / - -\n"),
            Bytes::from_static(b"x").into(),
            None,
        )
    };
    keep().await.unwrap();
    let agent = queue.take().await;
    let stored = queue.first(agent).unwrap().unwrap();
    queue.store.done(agent, stored.position, stored.segment, End::Delivered);
    // Between what is done and what is given back: the lane is taken, and does not line up by itself.
    keep().await.unwrap();
    queue.give_back(agent);
    assert_eq!(tokio::time::timeout(Duration::from_secs(20), queue.take()).await, Ok(agent));
}

#[tokio::test]
async fn no_more_is_delivered_than_may_come_twice_until_it_is_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let quota = Quota { bytes: 1 << 30, agent_bytes: 1 << 30, dead_bytes: 1 << 20 };
    let queue = Queue::open(folder.path(), quota).unwrap();
    for number in 0..3 * MOST_UNSETTLED {
        let agent = format!("agent {} -", number % 7);
        queue
            .keep(agent, Bytes::from_static(b"POST / - -\n"), Bytes::from_static(b"x").into(), None)
            .await
            .unwrap();
    }
    for _ in 0..3 * MOST_UNSETTLED {
        // As if the thread that writes were slow to hear of it: only its own clock makes it settle.
        queue.settling.store(true, Ordering::Relaxed);
        let agent = queue.take().await;
        assert!(queue.store.state().unsettled < MOST_UNSETTLED);
        let stored = queue.first(agent).unwrap().unwrap();
        queue.delivered(agent, &stored);
    }
    assert_eq!(queue.balance().delivered, 3 * MOST_UNSETTLED);
}

#[tokio::test]
async fn a_dead_letter_is_put_back_once_however_many_ask_and_the_oldest_leave_for_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let quota = Quota { bytes: 1 << 30, agent_bytes: 1 << 30, dead_bytes: 5_000 };
    let queue = Queue::open(folder.path(), quota).unwrap();
    let bury = async || {
        let body: Content = Bytes::from(vec![b'x'; 1_000]).into();
        queue.keep("a - -".to_owned(), Bytes::from_static(b"POST / - -\n"), body, None).await.unwrap();
        let agent = queue.take().await;
        let stored = queue.first(agent).unwrap().unwrap();
        queue.bury(agent, &stored, "refused").unwrap();
    };
    bury().await;
    let (one, other) = tokio::join!(queue.replay_dead("0-1"), queue.replay_dead("0-1"));
    assert_eq!([one.unwrap().is_some(), other.unwrap().is_some()].iter().filter(|put| **put).count(), 1);
    let balance = queue.balance();
    assert_eq!((balance.accepted, balance.queued, balance.dead_lettered), (1, 1, 0));
    assert_eq!(queue.dead_bytes(), 0);
    let agent = queue.take().await;
    let stored = queue.first(agent).unwrap().unwrap();
    queue.delivered(agent, &stored);
    for _ in 0..9 {
        bury().await;
    }
    let left: Vec<_> = queue.dead_letters().unwrap().into_iter().map(|letter| letter.id).collect();
    assert!(left.len() < 5 && left.contains(&"0-11".to_owned()), "{left:?}");
    assert!(queue.dead_bytes() <= 5_000);
    assert_eq!(queue.balance().dead_lettered, 9, "those that left still count");
}

#[tokio::test]
async fn what_comes_later_waits_behind_what_was_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let quota = Quota { bytes: 1 << 20, agent_bytes: 1 << 20, dead_bytes: 1 << 20 };
    let queue = Queue::open(folder.path(), quota).unwrap();
    for _ in 0..3 {
        let body: Content = Bytes::from_static(b"x").into();
        queue.keep("a - -".to_owned(), Bytes::from_static(b"POST /odd - -\n"), body, None).await.unwrap();
    }
    let agent = queue.take().await;
    let first = queue.first(agent).unwrap().unwrap();
    assert!(!queue.belongs_aside(&first, LANE));
    assert!(queue.set_aside(agent, &first, LANE.to_owned()).await);
    assert!(queue.belongs_aside(&first, LANE), "it is there");
    let second = queue.first(agent).unwrap().unwrap();
    assert!(queue.belongs_aside(&second, LANE), "the one before it waits there");
    let lane = queue.store.state().ledger.number(LANE).unwrap();
    while queue.take().await != lane {}
    let there = queue.first(lane).unwrap().unwrap();
    queue.delivered(lane, &there);
    assert!(!queue.belongs_aside(&second, LANE), "nobody waits there any more");
    assert!(queue.belongs_aside(&first, LANE), "it was delivered from there");
}

#[test]
fn what_came_from_elsewhere_and_is_done_counts_once_after_a_restart_too() {
    let model = Model::default();
    let disk: Arc<dyn Disk> = Arc::new(model.clone());
    // Nothing is sealed, and the marks are not written anew: everything is read back from single marks and records.
    let open = || {
        let (store, found) = recover(Arc::clone(&disk), Path::new("/queue")).unwrap();
        let store = Arc::new(store);
        (Arc::clone(&store), Writer::new(store, &found, Full::default()))
    };
    let (store, mut writer) = open();
    let back = Incoming { is_replayed: true, ..incoming("a - -", "5 back") };
    writer.append(&["1", "2", "3", "4"].map(|text| incoming("a - -", text))).unwrap();
    writer.append(&[back]).unwrap();
    part(&store, &mut writer, &mut Sent::default()).unwrap();
    let told = store.state().ledger.balance();
    assert_eq!(told.accepted, 4, "the one that was put back was accepted before");
    let lanes =
        |store: &Store| store.state().ledger.agents().map(|(_, agent)| agent.clone()).collect::<Vec<_>>();
    let before = lanes(&store);
    drop((store, writer));
    let (store, _) = open();
    let after = lanes(&store);
    assert_eq!(before.len(), 2);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(
            (before.balance(), before.origin, before.moved_in),
            (after.balance(), after.origin, after.moved_in)
        );
    }
}

#[tokio::test]
async fn what_a_crash_made_queued_again_is_a_dead_letter_or_set_aside_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let quota = Quota { bytes: 1 << 20, agent_bytes: 1 << 20, dead_bytes: 1 << 20 };
    let set_aside = async |queue: &Queue| {
        let agent = queue.store.state().ledger.number("a - -").unwrap();
        let first = queue.first(agent).unwrap().unwrap();
        assert!(queue.set_aside(agent, &first, LANE.to_owned()).await);
    };
    let queue = Queue::open(folder.path(), quota).unwrap();
    for _ in 0..3 {
        let body: Content = Bytes::from_static(b"x").into();
        queue.keep("a - -".to_owned(), Bytes::from_static(b"POST /odd - -\n"), body, None).await.unwrap();
    }
    set_aside(&queue).await;
    queue.settle().await;
    let marks = std::fs::read(folder.path().join("queue/marks")).unwrap();
    let second = queue.first(0).unwrap().unwrap();
    queue.bury(0, &second, "refused").unwrap();
    set_aside(&queue).await;
    let told = queue.balance();
    assert_eq!((told.accepted, told.queued, told.dead_lettered), (3, 2, 1));
    // As if nothing of that had been written down.
    queue.settle().await;
    drop(queue);
    std::fs::write(folder.path().join("queue/marks"), marks).unwrap();
    let queue = Queue::open(folder.path(), quota).unwrap();
    assert_eq!(queue.balance().queued, 3, "one more");
    set_aside(&queue).await;
    set_aside(&queue).await;
    assert_eq!(queue.balance(), told);
    assert_eq!(queue.dead_letters().unwrap().len(), 1);
}
