//! lw_tcp_proxy is replaced by another binary while clients talk: nobody is refused, nobody is cut, and the machine
//! stays up for those who came through the one before.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tests::{
    autostop::{Autostop, Machine},
    peer,
    wait::wait_for,
};

/// A process that the test did not start itself. Dropped, it is ended.
struct Heir(Pid);

impl Drop for Heir {
    fn drop(&mut self) {
        // It may be gone already.
        kill(self.0, Signal::SIGKILL).ok();
    }
}

fn say(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).unwrap();
    let mut heard = vec![0; text.len()];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(heard, text);
}

fn come(port: u16) -> TcpStream {
    let mut stream = peer::connect(port);
    stream.write_all(b"words").unwrap();
    let mut heard = [0; 10];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hellowords");
    stream
}

/// Comes again and again, and is answered each time.
fn traffic(port: u16, ends: &AtomicBool) -> u64 {
    let mut times = 0;
    while !ends.load(SeqCst) {
        say(&mut come(port), b"and more");
        times += 1;
    }
    times
}

fn planes(autostop: &Autostop) -> Vec<Value> {
    autostop.api("GET", "/planes", &Value::Null).1["response"].as_array().unwrap().clone()
}

#[test]
fn another_binary_takes_over_amid_traffic_and_nobody_notices() {
    let machine = Machine::new();
    let mut autostop = Autostop::start(&[&machine], "idle_time = \"1s\"\nmin_online = \"1s\"");
    let port = autostop.port("m0");
    let mut first = come(port);
    let ends = Arc::new(AtomicBool::new(false));
    let talkers: Vec<_> = (0..4)
        .map(|_| {
            let ends = Arc::clone(&ends);
            thread::spawn(move || traffic(port, &ends))
        })
        .collect();
    let daemon = autostop.plane.take().unwrap();
    let (mut heirs, mut newest) = (Vec::new(), daemon.pid());
    for round in 1..=3 {
        kill(newest, Signal::SIGUSR2).unwrap();
        let pid = wait_for("another process", || {
            let lines = daemon.lines();
            let mut told = lines.iter().filter(|line| line.contains("another binary took over"));
            serde_json::from_str::<Value>(told.nth(round - 1)?).unwrap()["pid"].as_i64()
        });
        newest = Pid::from_raw(pid.try_into().unwrap());
        heirs.push(Heir(newest));
        drop(come(port));
        say(&mut first, b"still here");
    }
    ends.store(true, SeqCst);
    let times: u64 = talkers.into_iter().map(|talker| talker.join().unwrap()).sum();
    assert!(times > 0);
    // The two in between have nobody left; the first one has one, who keeps the machine up.
    wait_for("those without anybody to be forgotten", || (planes(&autostop).len() == 2).then_some(()));
    wait_for("the one to be told", || (autostop.rule("m0")["open"] == 1).then_some(()));
    say(&mut first, b"and here");
    assert_eq!((machine.calls("start"), machine.calls("stop")), (1, 0));
    drop(first);
    let mut daemon = daemon;
    assert_eq!(daemon.wait().code(), Some(0));
    wait_for("it to be forgotten", || (planes(&autostop).len() == 1).then_some(()));
    machine.wait_until_down();
    autostop.wait_for_state("m0", "down");
    drop(come(port));
    assert_eq!((machine.calls("start"), autostop.port("m0")), (2, port));
}
