//! agent-relay and large bodies: they pass unchanged, and take no more memory than they may.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{self, BufWriter, Read as _, Write as _},
    net::TcpStream,
    thread,
};

use nix::unistd::Pid;
use tempfile::TempDir;
use tests::{
    peer::connect,
    relay::{Receiver, Relay},
};

/// What a process needs beside its bodies: buffers of sockets and of the disk, and what the allocator keeps.
const BESIDE: u64 = 32 << 20;

/// One of the sizes of a process, in bytes.
fn size(pid: Pid, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// A body that is another one at every place.
fn part(agent: usize, at: usize) -> Vec<u8> {
    format!("{agent} {at} ").into_bytes().into_iter().cycle().take(100_000).collect()
}

/// Posts a body of so many parts, chunked or with its length told; the status.
fn post(port: u16, agent: usize, parts: usize, is_chunked: bool) -> io::Result<String> {
    let stream = connect(port);
    let mut answer = stream.try_clone()?;
    let mut writer = BufWriter::new(stream);
    let framing = match is_chunked {
        true => "Transfer-Encoding: chunked".to_owned(),
        false => format!("Content-Length: {}", parts * 100_000),
    };
    write!(
        writer,
        "POST /intake/?api_key=k{agent} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n{framing}\r\n\r\n"
    )?;
    let say = |writer: &mut BufWriter<TcpStream>, bytes: &[u8]| writer.write_all(bytes);
    for at in 0..parts {
        if is_chunked {
            say(&mut writer, b"186A0\r\n")?;
        }
        say(&mut writer, &part(agent, at))?;
        if is_chunked {
            say(&mut writer, b"\r\n")?;
        }
    }
    if is_chunked {
        say(&mut writer, b"0\r\n\r\n")?;
    }
    writer.flush()?;
    let mut status = [0; 12];
    answer.read_exact(&mut status)?;
    Ok(String::from_utf8_lossy(&status[9..]).into_owned())
}

/// Many large bodies at once, each until it is taken; returns by how much the process grew.
fn grown(agents: usize, parts: usize, is_chunked: bool, settings: &[(&str, &str)]) -> u64 {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start();
    let settings: Vec<_> = [("API_KEY", "own")].iter().chain(settings).copied().collect();
    let mut relay = Relay::start(folder.path(), receiver.address, &settings);
    relay.daemon.as_mut().unwrap().announce("an agent is asked to keep its data");
    let (pid, port) = (relay.daemon.as_ref().unwrap().pid(), relay.port);
    let idle = size(pid, "VmRSS:");
    let sending = |agent| {
        thread::spawn(move || {
            // Who is refused in the middle may find the connection closed before it reads why.
            while !post(port, agent, parts, is_chunked).is_ok_and(|status| status == "200") {
                thread::yield_now();
            }
        })
    };
    let threads: Vec<_> = (0..agents).map(sending).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let balance = relay.drained();
    assert_eq!((balance.accepted, balance.delivered), (agents as u64, agents as u64));
    let mut came = receiver.bodies();
    came.sort();
    let mut sent: Vec<_> = (0..agents)
        .map(|agent| (0..parts).flat_map(|at| part(agent, at)).collect::<Vec<u8>>())
        .map(|body| String::from_utf8(body).unwrap())
        .collect();
    sent.sort();
    assert!(came == sent, "a body was changed on its way");
    let grown = size(pid, "VmHWM:").saturating_sub(idle);
    assert_eq!(relay.daemon.take().unwrap().stop(), 0);
    grown
}

#[test]
fn chunked_bodies_that_come_at_once_take_no_more_memory_than_they_may() {
    let settings = [("MEMORY_MAX_BYTES", "32MiB"), ("BODY_MAX_BYTES", "16MiB")];
    let grown = grown(8, 160, true, &settings);
    assert!(grown <= (32 << 20) + BESIDE, "it grew by {} MiB", grown >> 20);
}

#[test]
fn one_body_of_nearly_a_hundred_megabytes_takes_what_it_is_long() {
    let settings = [("MEMORY_MAX_BYTES", "96MiB"), ("BODY_MAX_BYTES", "96MiB")];
    let grown = grown(1, 990, false, &settings);
    assert!(grown <= (96 << 20) + BESIDE, "it grew by {} MiB", grown >> 20);
}
