//! Files that are made small while one agent is stuck: nothing of it is lost, whenever the power is cut.

use super::*;

/// One agent is stuck, another goes on. Returns what was under way when the disk failed.
fn life(store: &Store, writer: &mut Writer, tale: &mut Tale) -> Option<Vec<(String, String)>> {
    for step in 0..30_usize {
        let agent = if step.is_multiple_of(5) { "stuck" } else { "goes on" };
        let text = format!("{step} {}", "x".repeat(60));
        if writer.append(&[incoming(agent, &text)]).is_err() {
            return Some(vec![(agent.to_owned(), text)]);
        }
        tale.entry(agent.to_owned()).or_default().accepted.push(text);
        let number = store.state().ledger.number("goes on");
        if let Some(number) = number
            && let Ok(Next::Record(stored)) = store.next(number)
        {
            tale.get_mut("goes on").unwrap().delivered += 1;
            store.done(number, stored.position, stored.segment, End::Delivered);
        }
        // It is looked for again and again, and not delivered.
        let stuck = store.state().ledger.number("stuck");
        drop(stuck.map(|stuck| store.next(stuck)));
        writer.settle().ok();
    }
    None
}

fn log_bytes(model: &Model) -> usize {
    let names = model.list(Path::new("/queue")).unwrap();
    let logs = names.iter().filter(|name| name.ends_with(".log"));
    logs.map(|name| model.read(&Path::new("/queue").join(name)).unwrap().len()).sum()
}

#[test]
fn what_is_stuck_keeps_no_more_than_itself() {
    let calm = Model::default();
    let (store, mut writer) = open(&calm).unwrap();
    let mut tale = Tale::default();
    assert!(life(&store, &mut writer, &mut tale).is_none());
    // Everything but the six that are stuck, the files that are not full yet, and heads.
    let bytes = log_bytes(&calm);
    assert!(bytes < 2500, "{bytes} of about 5,000");
    check(&store, &tale, &[], "calm");
    drop((store, writer));
    let (store, _) = open(&calm).unwrap();
    assert_eq!(drain(&store, 0).len(), 6);
}

#[test]
fn nothing_is_lost_when_the_power_is_cut_while_a_file_is_made_small() {
    let calm = Model::default();
    let (store, mut writer) = open(&calm).unwrap();
    assert!(life(&store, &mut writer, &mut Tale::default()).is_none());
    for seed in 0..6 {
        for step in 0..calm.steps() {
            let case = format!("cut at {step}, seed {seed}");
            let model = Model::doomed(step, Fate::Cut, seed);
            let mut tale = Tale::default();
            let mut under_way = None;
            if let Ok((store, mut writer)) = open(&model) {
                under_way = life(&store, &mut writer, &mut tale);
            }
            model.reboot();
            let (store, _) = open(&model).unwrap();
            check(&store, &tale, under_way.as_deref().unwrap_or_default(), &case);
        }
    }
}

#[test]
fn it_goes_on_after_a_failure_at_any_step() {
    let calm = Model::default();
    let (store, mut writer) = open(&calm).unwrap();
    assert!(life(&store, &mut writer, &mut Tale::default()).is_none());
    for seed in 0..6 {
        for step in 4..calm.steps() {
            let case = format!("failure at {step}, seed {seed}");
            let model = Model::doomed(step, Fate::Fail(size(seed % 3)), seed);
            let (store, mut writer) = open(&model).unwrap();
            let mut tale = Tale::default();
            assert!(
                (0..6).any(|_| life(&store, &mut writer, &mut tale).is_none()),
                "{case}: it does not heal"
            );
            model.doom(1 << 30);
            let stuck = store.state().ledger.number("stuck").unwrap();
            let first = store.next(stuck);
            assert!(
                matches!(&first, Ok(Next::Record(first)) if first.position.number == 1),
                "{case}: {first:?}"
            );
            model.reboot();
            let (store, _) = open(&model).unwrap();
            check(&store, &tale, &[], &case);
        }
    }
}
