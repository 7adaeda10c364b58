//! Autostop as a whole: machines stop when nobody uses them and start when somebody comes, no byte is lost, nobody
//! is cut, and `kill -9` changes nothing of that.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
};

use tests::{
    autostop::{Autostop, Machine},
    peer,
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
fn either_daemon_may_be_killed_at_any_moment() {
    let machine = Machine::new();
    let mut autostop = Autostop::start(&[&machine], "idle_time = \"2s\"\nmin_online = \"1s\"");
    let port = autostop.port("m0");
    let mut stream = come(port, b"I stay");
    for _ in 0..5 {
        autostop.kill_control();
        say(&mut stream, b"nothing happened");
        drop(come(port, b"others come too"));
        autostop.start_control();
        assert_eq!(autostop.port("m0"), port);
        say(&mut stream, b"and nothing happens");
    }
    assert_eq!((machine.calls("start"), machine.calls("stop")), (1, 0));
    for _ in 0..3 {
        autostop.kill_plane();
        autostop.start_plane();
        stream = come(port, b"the same port");
    }
    assert_eq!((machine.calls("start"), machine.calls("stop")), (1, 0));
    drop(stream);
    machine.wait_until_down();
    // Killed amid a wake, the machine is not left running, nor started twice.
    let waiting = thread::spawn(move || come(port, b"amid a kill"));
    autostop.kill_control();
    autostop.start_control();
    drop(waiting.join().unwrap());
    machine.wait_until_down();
}
