//! Protocols that goproxy does not speak run through it as without it.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use tests::{
    capture::{Forwarder, Goproxy},
    program::{self, Program},
    wait::wait_for,
};

fn postgres() -> Program {
    Program::start(|folder, address| {
        program::init_postgres(folder);
        let mut server = program::of_postgres(folder, "postgres");
        server.arg("-D").arg(folder.join("data")).args([
            "-h",
            "127.0.0.1",
            "-p",
            &address.port().to_string(),
            "-k",
            "",
        ]);
        server
    })
}

fn pgbench(port: u16, more: &[&str]) -> String {
    let port = port.to_string();
    let common = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres"];
    program::run(Command::new("pgbench").args(common).args(more).arg("postgres"))
}

#[test]
fn pgbench_runs_through_as_without() {
    let postgres = postgres();
    let forwarder = Forwarder::start(&[]);
    let proxy = Goproxy::start("pg", postgres.address, forwarder.port, &[]);
    pgbench(proxy.port, &["-i", "-q"]);
    let report = pgbench(proxy.port, &["-c", "8", "-t", "200"]);
    assert!(report.contains("number of transactions actually processed: 1600/1600"), "{report}");
    assert!(report.contains("number of failed transactions: 0"), "{report}");
    let streams = forwarder.sql("SELECT protocol, count(*) AS n FROM exchanges GROUP BY protocol");
    assert_eq!(streams.len(), 1, "{streams:?}");
    assert_eq!(streams[0]["protocol"], "tcp");
    wait_for("the last connection to end", || {
        (proxy.metric("goproxy_connections_active") == 0).then_some(())
    });
    let seen = proxy.metric("goproxy_exchanges_seen_total");
    assert_eq!(seen, proxy.metric("goproxy_connections_total"), "one opaque exchange for each connection");
    assert_eq!(forwarder.settled("pg", seen).stored, seen);
}

#[test]
fn redis_benchmark_runs_through_as_without() {
    let redis = Program::start(|folder, address| {
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &address.port().to_string(), "--save", "", "--appendonly", "no", "--dir"])
            .arg(folder);
        command
    });
    let forwarder = Forwarder::start(&[]);
    let proxy = Goproxy::start("redis", redis.address, forwarder.port, &[]);
    let port = proxy.port.to_string();
    let tests = ["-t", "set,get,lpush,mset", "-n", "20000", "-c", "50", "-P", "4", "--csv"];
    let report =
        program::run(Command::new("redis-benchmark").args(["-h", "127.0.0.1", "-p", &port]).args(tests));
    assert_eq!(
        report.lines().filter(|line| line.starts_with('"')).count(),
        5,
        "a header and four rows: {report}"
    );
    let keys =
        program::run(Command::new("redis-cli").args(["-h", "127.0.0.1", "-p", &port, "LLEN", "mylist"]));
    assert_eq!(keys.trim(), "20000");
}

const ECHO_SERVER: &str = r#"
import asyncio, sys, websockets

async def echo(socket, *_):
    async for message in socket:
        await socket.send(message)

async def main():
    async with websockets.serve(echo, "127.0.0.1", int(sys.argv[1]), max_size=None):
        await asyncio.Future()

asyncio.run(main())
"#;

const ECHO_CLIENT: &str = r#"
import asyncio, os, sys, websockets

async def main():
    async with websockets.connect("ws://127.0.0.1:" + sys.argv[1] + "/chat", max_size=None) as client:
        for size in [0, 1, 125, 126, 65535, 65536, 3000000]:
            message = os.urandom(size)
            await client.send(message)
            assert await client.recv() == message, size
        await client.send("text \u2603")
        assert await client.recv() == "text \u2603"
    print("all echoed")

asyncio.run(main())
"#;

fn python(script: &str, port: u16) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", script, &port.to_string()]);
    command
}

#[test]
fn a_websocket_client_talks_through_and_is_told_as_an_upgrade_and_a_stream() {
    let server = Program::start(|_, address| python(ECHO_SERVER, address.port()));
    let forwarder = Forwarder::start(&[]);
    let proxy = Goproxy::start("ws", server.address, forwarder.port, &[]);
    assert_eq!(program::run(&mut python(ECHO_CLIENT, proxy.port)).trim(), "all echoed");
    forwarder.settled("ws", 2);
    let told = forwarder.sql("SELECT protocol, status, method FROM exchanges ORDER BY exchange_index");
    assert_eq!((told[0]["protocol"].as_str(), told[0]["status"].as_u64()), (Some("http"), Some(101)));
    assert_eq!(told[1]["protocol"], "websocket");
}
