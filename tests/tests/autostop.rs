//! Autostop as a whole: machines stop when nobody uses them and start when somebody comes, no byte is lost, nobody
//! is cut, and `kill -9` changes nothing of that.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    env,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use tests::{
    autostop::{Autostop, Machine},
    peer,
    wait::{PATIENCE, wait_for},
};

const QUICK: &str = "idle_time = \"1s\"\nmin_online = \"1s\"";

/// Says this to the echo of a machine, and hears it.
fn say(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).unwrap();
    let mut heard = vec![0; text.len()];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(heard, text);
}

/// Comes to a machine with something to say, whether it is up or not.
fn come(port: u16, text: &[u8]) -> TcpStream {
    let mut stream = peer::connect(port);
    stream.write_all(text).unwrap();
    let mut heard = vec![0; "hello".len() + text.len()];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(heard, [b"hello", text].concat());
    stream
}

#[test]
fn a_machine_sleeps_and_wakes_and_nobody_can_tell() {
    let machine = Machine::new();
    let autostop = Autostop::start(&[&machine], QUICK);
    autostop.wait_for_state("m0", "down");
    let port = autostop.port("m0");
    for round in 1..=3 {
        let mut stream = come(port, b"first bytes");
        assert_eq!(machine.calls("start"), round);
        assert_eq!(autostop.rule("m0")["state"], "active");
        say(&mut stream, b"and more");
        drop(stream);
        machine.wait_until_down();
        autostop.wait_for_state("m0", "down");
        assert_eq!(machine.calls("stop"), round);
    }
    assert_eq!(autostop.port("m0"), port);
}

#[test]
fn a_crowd_wakes_a_machine_once_and_all_of_it_is_served() {
    let machine = Machine::new();
    let autostop = Autostop::start(&[&machine], "idle_time = \"5m\"");
    let port = autostop.port("m0");
    let crowd: Vec<_> =
        (0..200_u32).map(|number| thread::spawn(move || come(port, &number.to_be_bytes()))).collect();
    let streams: Vec<_> = crowd.into_iter().map(|one| one.join().unwrap()).collect();
    assert_eq!(machine.calls("start"), 1);
    drop(streams);
}

#[test]
fn who_only_knocks_wakes_nothing() {
    let machine = Machine::new();
    let autostop = Autostop::start(&[&machine], QUICK);
    autostop.wait_for_state("m0", "down");
    let port = autostop.port("m0");
    (0..50).for_each(|_| drop(peer::connect(port)));
    drop(come(port, b"a client"));
    machine.wait_until_down();
    assert_eq!(machine.calls("start"), 1);
}

#[test]
fn a_data_plane_that_starts_alone_listens_where_it_did_and_holds() {
    let machine = Machine::new();
    let mut autostop = Autostop::start(&[&machine], "idle_time = \"5m\"");
    let port = autostop.port("m0");
    drop(come(port, b"wake up"));
    autostop.kill_control();
    autostop.kill_plane();
    autostop.start_plane_alone();
    wait_for("the port to be back", || TcpStream::connect(("127.0.0.1", port)).ok());
    let waiting = thread::spawn(move || come(port, b"is anybody there?"));
    autostop.start_control();
    drop(waiting.join().unwrap());
    assert_eq!((autostop.port("m0"), machine.calls("start")), (port, 1));
}

/// Talks over one connection after another until told to end. A connection may break, or not come about, only
/// when the data plane is killed meanwhile, which `plane` counts twice: before it, and once it is back. Returns how
/// often it was answered.
fn talk(port: u16, ends: &AtomicBool, plane: &AtomicU32) -> u64 {
    let mut answers = 0;
    while !ends.load(SeqCst) {
        let before = plane.load(SeqCst);
        let talked = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut heard = [0; 5];
            stream.write_all(b"words")?;
            stream.read_exact(&mut heard)?;
            assert_eq!(&heard, b"hello");
            for _ in 0..200 {
                stream.read_exact(&mut heard)?;
                assert_eq!(&heard, b"words");
                answers += 1;
                stream.write_all(b"words")?;
            }
            Ok(())
        });
        if let Err(error) = talked {
            let after = plane.load(SeqCst);
            assert!(before != after || before % 2 == 1, "cut although the data plane lived: {error}");
            // It is not listening again yet.
            thread::yield_now();
        }
    }
    answers
}

/// `WAYSIDE_SOAK` asks for so many kills; the ordinary run takes a few.
#[test]
fn killed_again_and_again_neither_daemon_harms_a_running_machine() {
    let kills = env::var("WAYSIDE_SOAK").ok().and_then(|kills| kills.parse().ok()).unwrap_or(8);
    let seed = env::var("WAYSIDE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("WAYSIDE_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let machine = Machine::new();
    let mut autostop = Autostop::start(&[&machine], "idle_time = \"2s\"\nmin_online = \"1s\"");
    let port = autostop.port("m0");
    drop(come(port, b"wake up"));
    let (ends, plane) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let talkers: Vec<_> = (0..4)
        .map(|_| {
            let (ends, plane) = (Arc::clone(&ends), Arc::clone(&plane));
            thread::spawn(move || talk(port, &ends, &plane))
        })
        .collect();
    for _ in 0..kills {
        // Sleeps: so that the kills fall at any moment.
        thread::sleep(Duration::from_millis(random.u64(..300)));
        if random.bool() {
            autostop.kill_control();
            // Sleeps: as above.
            thread::sleep(Duration::from_millis(random.u64(..100)));
            autostop.start_control();
        } else {
            plane.fetch_add(1, SeqCst);
            autostop.kill_plane();
            autostop.start_plane();
            wait_for("the port to be back", || TcpStream::connect(("127.0.0.1", port)).ok());
            plane.fetch_add(1, SeqCst);
        }
        assert_eq!(autostop.port("m0"), port);
    }
    ends.store(true, SeqCst);
    let answers: u64 = talkers.into_iter().map(|talker| talker.join().unwrap()).sum();
    assert!(answers > 0);
    assert_eq!((machine.calls("start"), machine.calls("stop")), (1, 0));
    // No orphan: with nobody left it is stopped.
    machine.wait_until_down();
    // Killed amid a wake, the machine is not left running, nor started twice.
    let waiting = thread::spawn(move || come(port, b"amid a kill"));
    autostop.kill_control();
    autostop.start_control();
    drop(waiting.join().unwrap());
    machine.wait_until_down();
}
