//! agent-relay in TCP mode: bytes pass unchanged, servers that are down are passed over, and HAProxy's words work.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
};

use tempfile::TempDir;
use tests::{
    http,
    peer::{connect, listen, serve},
    relay::Relay,
    wait::wait_for,
};

/// Says its name, then everything back that it hears.
fn echo(name: &'static str) -> SocketAddr {
    serve(move |mut stream: TcpStream| {
        if stream.write_all(name.as_bytes()).is_err() {
            return;
        }
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut bytes) {
            if stream.write_all(&bytes[..read]).is_err() {
                return;
            }
        }
        stream.shutdown(Shutdown::Write).ok();
    })
}

fn start(folder: &Path, table: &str) -> (Relay, u16) {
    let file = folder.join("relay.toml");
    let socket = folder.join("sock");
    std::fs::write(&file, format!("stats_socket = {:?}\n{table}", socket.to_str().unwrap())).unwrap();
    let relay = Relay::start_with(&folder.join("data"), None, &[], Some(&file));
    let port = relay.daemon.as_ref().unwrap().port("Starting TCP listener", "addr");
    (relay, port)
}

fn command(folder: &Path, line: &str) -> String {
    let mut stream = UnixStream::connect(folder.join("sock")).unwrap();
    stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// What a connection is greeted with, and what comes back of `said`.
fn talk(port: u16, said: &str) -> String {
    let mut stream = connect(port);
    stream.write_all(said.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    heard
}

fn cell(csv: &str, proxy: &str, server: &str, column: &str) -> String {
    let mut lines = csv.lines();
    let head: Vec<&str> = lines.next().unwrap().trim_start_matches("# ").split(',').collect();
    let at = head.iter().position(|known| *known == column).unwrap();
    let row = lines.find(|line| line.starts_with(&format!("{proxy},{server},"))).unwrap();
    row.split(',').nth(at).unwrap().to_owned()
}

fn two_servers(more: &str, first: SocketAddr, second: SocketAddr) -> String {
    format!(
        "[[tcp]]\nname = 'forwarder'\nbackend = 'stackstate'\nlisten = '127.0.0.1:0'\nlog = true\ncheck_interval = '100ms'\n{more}\
         [[tcp.servers]]\nname = 'one'\naddress = '{first}'\ncheck = true\n\
         [[tcp.servers]]\nname = 'two'\naddress = '{second}'\ncheck = true\n"
    )
}

#[test]
fn connections_take_turns_and_a_server_in_maintenance_gets_none() {
    let folder = TempDir::new().unwrap();
    let (relay, port) = start(folder.path(), &two_servers("", echo("one "), echo("two ")));
    let heard: Vec<String> = (0..4).map(|_| talk(port, "hello")).collect();
    assert_eq!(heard, ["one hello", "two hello", "one hello", "two hello"]);
    let large = "x".repeat(3 << 20);
    assert_eq!(talk(port, &large).len(), large.len() + 4);

    assert_eq!(command(folder.path(), "set server stackstate/one state maint"), "\n");
    (0..3).for_each(|_| assert_eq!(talk(port, "hello"), "two hello"));
    assert_eq!(command(folder.path(), "set server stackstate/gone state maint"), "No such server.\n\n");
    assert_eq!(command(folder.path(), "set server gone/one state maint"), "No such backend.\n\n");
    let csv = http::get(relay.stats, "/;csv");
    let csv = csv.split("\r\n\r\n").last().unwrap();
    assert_eq!(cell(csv, "stackstate", "one", "status"), "MAINT");
    assert_eq!(cell(csv, "forwarder", "FRONTEND", "stot"), "8");
    assert_eq!(cell(csv, "stackstate", "BACKEND", "stot"), "8");
    assert!(command(folder.path(), "show stat").starts_with(csv.lines().next().unwrap()));
    command(folder.path(), "enable server stackstate/one");
    let states = command(folder.path(), "show servers state stackstate");
    assert!(
        states.starts_with("1\n# be_id be_name srv_id ")
            && states.contains("5 stackstate 1 one 127.0.0.1 2 0 1 1 "),
        "{states}"
    );
    let info = command(folder.path(), "show info");
    assert!(info.contains(&format!("Pid: {}\n", relay.daemon.as_ref().unwrap().pid())), "{info}");
    relay.daemon.as_ref().unwrap().wait_for_line("forwarder stackstate/two 0/");
}

#[test]
fn a_server_that_is_gone_is_passed_over_and_told_of() {
    let folder = TempDir::new().unwrap();
    let (listener, gone) = listen();
    drop(listener);
    let (mut relay, port) = start(folder.path(), &two_servers("retries = 1\n", gone, echo("two ")));
    relay.daemon.as_mut().unwrap().announce("a server is down");
    (0..4).for_each(|_| assert_eq!(talk(port, "hello"), "two hello"));
    relay.daemon.as_ref().unwrap().wait_for_line("a server is down");
    let csv = http::get(relay.stats, "/;csv");
    let csv = csv.split("\r\n\r\n").last().unwrap();
    assert_eq!(
        (cell(csv, "stackstate", "one", "status"), cell(csv, "stackstate", "two", "status")),
        ("DOWN".to_owned(), "UP".to_owned())
    );
}

#[test]
fn the_proxy_header_names_the_client_on_both_sides() {
    let folder = TempDir::new().unwrap();
    let server = echo("");
    let table = format!(
        "[[tcp]]\nname = 'f'\nlisten = '127.0.0.1:0'\naccept_proxy = true\nlog = true\n\
         servers = [{{ name = 's', address = '{server}', send_proxy = 1 }}]\n"
    );
    let (relay, port) = start(folder.path(), &table);
    let heard = talk(port, "PROXY TCP4 10.1.2.3 10.0.0.1 5555 3834\r\nhello");
    assert_eq!(heard, format!("PROXY TCP4 10.1.2.3 127.0.0.1 5555 {port}\r\nhello"));
    assert_eq!(talk(port, "GET / HTTP/1.1\r\n\r\n"), "", "without a header nothing goes on");
    relay.daemon.as_ref().unwrap().wait_for_line("10.1.2.3:5555 [");
}

#[test]
fn a_connection_on_which_nothing_moves_is_ended() {
    let folder = TempDir::new().unwrap();
    let table = format!(
        "[[tcp]]\nname = 'f'\nlisten = '127.0.0.1:0'\nidle_timeout = '200ms'\nlog = true\n\
         servers = [{{ name = 's', address = '{}' }}]\n",
        echo("hi")
    );
    let (relay, port) = start(folder.path(), &table);
    let mut stream = connect(port);
    let mut heard = String::new();
    stream.read_to_string(&mut heard).ok();
    assert_eq!(heard, "hi");
    let line = relay.daemon.as_ref().unwrap().wait_for_line(" f f/s 0/");
    assert!(line.contains(" cD "), "{line}");
    wait_for("no connection to be open", || {
        let csv = http::get(relay.stats, "/;csv");
        (cell(csv.split("\r\n\r\n").last().unwrap(), "f", "FRONTEND", "scur") == "0").then_some(())
    });
}
