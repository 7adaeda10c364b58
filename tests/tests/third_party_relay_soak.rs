//! agent-relay through deaths, outages and full disks, again and again: everything is accounted for to the unit.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::HashSet, env, thread, time::Duration};

use tests::{
    relay::{
        Balance, Receiver, Relay,
        agents::{Agents, check},
        disk::Disk,
    },
    wait::wait_for,
};

const AGENTS: u64 = 6;

fn announce(relay: &mut Relay) {
    let log = relay.daemon.as_mut().unwrap();
    log.announce("an upstream is down").announce("the other side refuses");
    log.announce("does not take data").announce("keep its data");
    log.announce("not written down").announce("not sealed");
}

/// `WAYSIDE_SOAK` asks for so many kills, and `WAYSIDE_SEED` for the same once more; the ordinary run takes a few.
#[test]
fn every_request_is_accounted_for_while_the_relay_is_killed_again_and_again_amid_outages_and_full_disks() {
    let number = |name: &str| env::var(name).ok().and_then(|told| told.parse().ok());
    let kills = number("WAYSIDE_SOAK").unwrap_or(6);
    let seed = number("WAYSIDE_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let disk = Disk::mount("64m");
    let receiver = Receiver::start();
    let mut relay = Relay::start(&disk.path().join("data"), receiver.address, &[("API_KEY", "own")]);
    let agents = Agents::terse(usize::try_from(AGENTS).unwrap(), relay.port);
    let (mut full, mut refused) = (0, 0);
    for kill in 0..kills {
        announce(&mut relay);
        receiver.answer(*random.choice(&[202, 202, 202, 403, 404, 429, 500, 503]).unwrap());
        // Every third life has a full disk, sometimes with room for a few more.
        let is_full = kill % 3 == 1;
        if is_full {
            let room = *random.choice(&[0, 0, 4 << 10, 200 << 10]).unwrap();
            full += 1;
            wait_for("the disk to be full", || {
                // What is delivered makes room again.
                disk.fill(room);
                (relay.refused("disk") > 0).then_some(())
            });
        }
        // Sleeps: so that death comes at a random moment of whatever goes on.
        thread::sleep(Duration::from_millis(random.u64(0..600)));
        assert!(relay.balance().adds_up());
        receiver.answer(*random.choice(&[202, 202, 503]).unwrap());
        refused += relay.refused("disk");
        if !is_full && kill % 5 == 3 {
            receiver.answer(202);
            // Nothing that comes wakes up what may have fallen asleep.
            agents.rest(true);
            relay.drained();
            agents.rest(false);
        }
        // Death comes while it is full as well, and the next life begins so; no life begins without a byte.
        if is_full && random.bool() {
            disk.free();
        }
        // Sleeps: as above.
        thread::sleep(Duration::from_millis(random.u64(0..300)));
        relay.kill_and_start();
        if kill % 100 == 99 {
            println!("{} kills, {:?}", kill + 1, relay.balance());
        }
        disk.free();
        agents.follow(relay.port);
    }
    announce(&mut relay);
    receiver.answer(202);
    let before = relay.balance().accepted;
    wait_for("data to be taken again", || (relay.balance().accepted > before).then_some(()));
    let accepted = agents.stop();
    let balance = relay.drained();
    check(&receiver, &accepted);
    let unique: HashSet<String> = receiver.bodies().into_iter().collect();
    let came = unique.len() as u64;
    assert_eq!(balance, Balance { accepted: came, delivered: came, queued: 0, dead_lettered: 0 });
    let told: u64 = accepted.values().sum();
    assert!((told..=told + AGENTS * kills).contains(&came), "{came} came, {told} were told");
    let resent = receiver.bodies().len() as u64 - came;
    println!(
        "{came} requests, {resent} resent, {kills} kills, {full} full disks, {refused} refused by them; {balance:?}"
    );
    assert_eq!(relay.daemon.take().unwrap().stop(), 0);
}
