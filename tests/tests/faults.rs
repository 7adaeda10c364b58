//! Never in the way: whatever is wrong with the forwarder, the clients or the service, the bytes flow.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    cmp::Reverse,
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
};

use nix::unistd::Pid;
use tests::{
    capture::{Account, Forwarder, Goproxy},
    peer,
    wait::wait_for,
};

/// Sends one request over an open connection and reads the whole answer of `peer::http_service(b"ok")`.
fn ask(stream: &mut TcpStream) {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while !answer.ends_with(b"\r\n\r\nok") {
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "the answer ended early");
        answer.extend_from_slice(&buffer[..length]);
    }
}

#[test]
fn a_forwarder_that_hangs_or_talks_nonsense_is_not_noticed_by_clients() {
    let origin = peer::http_service(b"ok");
    let hanging = peer::serve(|mut stream| while matches!(stream.read(&mut [0; 1024]), Ok(1..)) {});
    let babbling = peer::serve(|mut stream| {
        stream.write_all(&[0xff; 4096]).ok();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nwhat?").ok();
    });
    for forwarder in [hanging, babbling] {
        let mut proxy = Goproxy::start("p", origin, forwarder.port(), &[("GRACE_PERIOD", "1s")]);
        proxy.daemon.announce("no forwarder").announce("was not there").announce("did not end");
        let mut client = peer::connect(proxy.port);
        (0..500).for_each(|_| ask(&mut client));
        proxy.wait_until_seen(500);
        assert_eq!(proxy.metric("goproxy_exchanges_in_flight"), 500);
    }
}

#[test]
fn nine_thousand_idle_connections_cost_little_and_harm_nobody() {
    // The test holds both ends of each connection and the proxy two descriptors: more than twice as
    // many as there are connections must be allowed.
    const CONNECTIONS: usize = 9_000;
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let room = usize::try_from(hard).unwrap_or(usize::MAX);
    let connections = CONNECTIONS.min(room / 2 - 200);
    assert!(connections >= 1_000, "this machine allows too few open files to test anything: {hard}");

    let (listener, origin) = peer::listen();
    let forwarder = Forwarder::start(&[]);
    let proxy = Goproxy::start("idle", origin, forwarder.port, &[]);
    let (_, before) = proxy.daemon.resident_kib();
    let mut open = Vec::new();
    for _ in 0..connections {
        let client = peer::connect(proxy.port);
        let (server, _) = listener.accept().unwrap();
        open.push((client, server));
    }
    let (_, with) = proxy.daemon.resident_kib();
    assert!(
        (with - before) / (connections as u64) < 8,
        "{} KiB for {connections} idle connections",
        with - before
    );
    let (client, server) = open.last_mut().unwrap();
    client.write_all(b"still there?").unwrap();
    let mut heard = [0; 12];
    server.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"still there?");
    drop(open);
    wait_for("them to be gone", || (proxy.metric("goproxy_connections_active") == 0).then_some(()));
    assert_eq!(forwarder.settled("idle", 1).stored, 1, "a connection without a byte is no exchange");
}

#[test]
fn no_thread_carries_many_more_connections_than_another() {
    const CONNECTIONS: usize = 400;
    let (listener, origin) = peer::listen();
    let mut proxy = Goproxy::start("even", origin, 9, &[("GRACE_PERIOD", "1s")]);
    proxy.daemon.announce("no forwarder").announce("was not there").announce("did not end");
    // All at once: whoever accepts first could have them all.
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| peer::connect(proxy.port)).collect();
    let servers: Vec<_> = (0..CONNECTIONS).map(|_| listener.accept().unwrap()).collect();
    let threads = thread::available_parallelism().unwrap().get();
    let carried = wait_for("the threads to watch both ends of every connection", || {
        let mut watched = watched_sockets(proxy.daemon.pid());
        watched.sort_unstable_by_key(|sockets| Reverse(*sockets));
        watched.truncate(threads);
        (watched.iter().sum::<usize>() >= 2 * CONNECTIONS).then_some(watched)
    });
    // One hands over what it has an eighth too many of; each watches some more than connections.
    let (fewest, most) = (carried[threads - 1], carried[0]);
    assert!(most <= fewest * 8 / 7 + 8, "{carried:?}");
    drop((clients, servers));
}

/// How many sockets each runtime of a process waits for.
fn watched_sockets(process: Pid) -> Vec<usize> {
    let folder = fs::read_dir(format!("/proc/{process}/fdinfo")).unwrap();
    let polled = folder.filter_map(|file| {
        // One that was closed meanwhile is not meant.
        let text = fs::read_to_string(file.unwrap().path()).ok()?;
        let mut sockets: Vec<_> =
            text.lines().filter(|line| line.starts_with("tfd:")).map(str::to_owned).collect();
        sockets.sort();
        Some(sockets)
    });
    // A runtime has several descriptors of the same.
    let polled: BTreeSet<_> = polled.collect();
    polled.into_iter().map(|sockets| sockets.len()).collect()
}

#[test]
fn when_descriptors_run_out_open_connections_go_on_and_new_ones_wait() {
    let origin = peer::http_service(b"ok");
    let forwarder = Forwarder::start(&[]);
    // Whatever the proxy has open besides, this is too little for the crowd and enough for a few of it.
    let few = ["prlimit", "--nofile=100:100"];
    let mut proxy = Goproxy::start_under(&few, "p", origin, forwarder.port, &[]);
    proxy.daemon.announce("no file descriptors for more connections");
    let mut first = peer::connect(proxy.port);
    ask(&mut first);
    let mut crowd: Vec<_> = (0..200).map(|_| peer::connect(proxy.port)).collect();
    wait_for("the proxy to be full", || (proxy.metric("goproxy_accept_pauses_total") > 0).then_some(()));
    (0..50).for_each(|_| ask(&mut first));
    let mut served = 0;
    while let Some(mut next) = (!crowd.is_empty()).then(|| crowd.remove(0)) {
        // Each one that leaves makes room for one that waits: none is lost.
        ask(&mut next);
        served += 1;
    }
    assert_eq!(served, 200);
    assert_eq!(proxy.metric("goproxy_dial_failures_total"), 0);
    assert_eq!(proxy.metric("goproxy_accept_failures_total"), 0);
    let told = proxy.daemon.lines().iter().filter(|line| line.contains("no file descriptors")).count();
    assert!((1..=20).contains(&told), "useful lines rather than a flood: {told}");
    forwarder.settled("p", 251);
}

#[test]
fn an_enormous_body_and_an_enormous_head_pass_within_the_memory() {
    const BODY: u64 = 10 << 30;
    const HEAD: usize = 10 << 20;
    let origin = peer::serve(|mut stream| {
        let mut buffer = vec![0; 1 << 20];
        let mut start = Vec::new();
        while !start.windows(4).any(|window| window == b"\r\n\r\n") {
            let Ok(length @ 1..) = stream.read(&mut buffer) else { return };
            start.extend_from_slice(&buffer[..length]);
        }
        if start.starts_with(b"GET /head") {
            let head = format!("HTTP/1.1 200 OK\r\nX-Length: {}\r\nContent-Length: 2\r\n\r\nok", start.len());
            stream.write_all(head.as_bytes()).ok();
            return;
        }
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n").as_bytes()).ok();
        buffer.fill(b'x');
        let mut left = BODY;
        while left > 0 && stream.write_all(&buffer).is_ok() {
            left -= buffer.len() as u64;
        }
    });
    let forwarder = Forwarder::start(&[]);
    let proxy = Goproxy::start("big", origin, forwarder.port, &[]);

    let mut client = peer::connect(proxy.port);
    let field = "x".repeat(HEAD);
    write!(client, "GET /head HTTP/1.1\r\nX-Filler: {field}\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(&format!("X-Length: {}", HEAD + 34)), "{answer}");

    let mut client = peer::connect(proxy.port);
    client.write_all(b"GET /body HTTP/1.1\r\nHost: shop\r\n\r\n").unwrap();
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    while let length @ 1.. = client.read(&mut buffer).unwrap() {
        total += length as u64;
    }
    assert_eq!(total, BODY + format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n").len() as u64);
    assert_eq!(forwarder.settled("big", 2).stored, 2);
    let pairs = forwarder.json("/api/v1/pairs");
    let newest = &pairs["pairs"][0]["wayside"];
    assert_eq!(newest["response"]["body_bytes"], BODY);
    assert_eq!(newest["response"]["truncated"], true);
    assert_eq!(pairs["pairs"][1]["wayside"]["request"]["head_bytes"], HEAD + 34);
    let (most, _) = proxy.daemon.resident_kib();
    assert!(most < (64 + 32) << 10, "{most} KiB");
}

#[test]
fn slow_and_rude_clients_hold_up_nobody_else() {
    let origin = peer::http_service(b"ok");
    let forwarder = Forwarder::start(&[]);
    let proxy = Goproxy::start("p", origin, forwarder.port, &[]);
    let mut slow = peer::connect(proxy.port);
    let request = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n";
    let mut polite = peer::connect(proxy.port);
    for byte in request {
        slow.write_all(&[*byte]).unwrap();
        ask(&mut polite);
    }
    let mut start = [0; 15];
    slow.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200 OK");
    for _ in 0..20 {
        let mut rude = peer::connect(proxy.port);
        rude.write_all(b"GET /left HTTP/1.1\r\nHost: sh").unwrap();
        drop(rude);
    }
    drop((slow, polite));
    let seen = request.len() as u64 + 1 + 20;
    assert_eq!(forwarder.settled("p", seen), Account { seen, stored: seen, ..Account::default() });
    let left = forwarder.json("/api/v1/pairs?limit=100");
    let left =
        left["pairs"].as_array().unwrap().iter().filter(|pair| pair["wayside"]["end"] == "aborted_by_client");
    assert_eq!(left.count(), 20);
}

#[test]
fn a_thousand_busy_connections_without_a_forwarder_stay_within_the_memory() {
    let origin = peer::http_service(b"ok");
    let mut forwarder = Forwarder::start(&[]);
    forwarder.kill();
    let mut proxy = Goproxy::start("busy", origin, forwarder.port, &[]);
    proxy.daemon.announce("no forwarder").announce("was not there");
    let port = proxy.port;
    let clients: Vec<_> = (0..10)
        .map(|_| {
            thread::spawn(move || {
                let mut streams: Vec<_> = (0..100).map(|_| peer::connect(port)).collect();
                for _ in 0..120 {
                    streams.iter_mut().for_each(ask);
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    proxy.wait_until_seen(120_000);
    let (most, _) = proxy.daemon.resident_kib();
    assert!(most < (64 + 32) << 10, "{most} KiB");
}
