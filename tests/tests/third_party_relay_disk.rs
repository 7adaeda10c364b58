//! agent-relay on a disk that is full: agents are asked to keep their data, and it heals by itself.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use tests::{
    relay::{Receiver, Relay, disk::Disk, post},
    wait::wait_for,
};

#[test]
fn a_full_disk_refuses_for_a_while_and_loses_nothing() {
    let disk = Disk::mount("8m");
    let filler = disk.path().join("filler");
    fs::write(&filler, vec![0; 6 << 20]).unwrap();
    let receiver = Receiver::start();
    receiver.answer(503);
    let mut relay = Relay::start(&disk.path().join("data"), receiver.address, &[("API_KEY", "own")]);
    let log = relay.daemon.as_mut().unwrap();
    log.announce("does not take data").announce("keep its data").announce("an upstream is down");
    log.announce("not written down").announce("not sealed");
    let mut number = 0;
    let mut send = || {
        let status = post(relay.port, "a", &format!("agent {} {}", number + 1, "x".repeat(20_000)));
        assert!(matches!(status, Some(200 | 503)), "{status:?}");
        number += u64::from(status == Some(200));
        (status, number)
    };
    let full = wait_for("the disk to be full", || Some(send()).filter(|(status, _)| *status == Some(503)));
    assert!(full.1 > 50, "{full:?}");
    let balance = relay.balance();
    assert_eq!((balance.accepted, balance.queued), (full.1, full.1));
    fs::remove_file(&filler).unwrap();
    let healed = wait_for("the disk to heal", || Some(send()).filter(|(status, _)| *status == Some(200)));
    relay.kill_and_start();
    relay.daemon.as_mut().unwrap().announce("an upstream is down");
    assert_eq!(relay.balance().accepted, healed.1);
    receiver.answer(202);
    let balance = relay.drained();
    assert_eq!((balance.accepted, balance.delivered), (healed.1, healed.1));
    assert_eq!(receiver.firsts()["agent"], (1..=healed.1).collect::<Vec<_>>());
}

#[test]
fn a_disk_that_the_queue_itself_filled_is_emptied_by_deliveries_alone() {
    let disk = Disk::mount("6m");
    let receiver = Receiver::start();
    receiver.answer(503);
    let mut relay = Relay::start(&disk.path().join("data"), receiver.address, &[("API_KEY", "own")]);
    let log = relay.daemon.as_mut().unwrap();
    log.announce("does not take data").announce("keep its data").announce("an upstream is down");
    log.announce("not written down").announce("not sealed");
    let mut accepted = 0;
    wait_for("the disk to be full for good", || {
        // Small ones last, until nothing fits any more.
        let mut fits = false;
        for size in [20_000, 2_000, 10] {
            // Many agents, so that what is written down of all of them is more than what is left of a block.
            let key = format!("k{}", accepted % 150);
            let status = post(relay.port, &key, &format!("agent {} {}", accepted + 1, "x".repeat(size)));
            assert!(matches!(status, Some(200 | 503)), "{status:?}");
            accepted += u64::from(status == Some(200));
            fits |= status == Some(200);
        }
        (!fits).then_some(())
    });
    receiver.answer(202);
    assert_eq!(relay.drained().delivered, accepted);
    wait_for("room", || {
        (post(relay.port, "a", &format!("agent {}", accepted + 1)) == Some(200)).then_some(())
    });
    relay.kill_and_start();
    // What was delivered may still be in the way of the next life.
    relay.daemon.as_mut().unwrap().announce("not written down").announce("not sealed");
    let balance = relay.drained();
    assert_eq!((balance.accepted, balance.delivered), (accepted + 1, accepted + 1));
    let mut came = receiver.firsts()["agent"].clone();
    came.sort_unstable();
    assert_eq!(came, (1..=accepted + 1).collect::<Vec<_>>());
}
