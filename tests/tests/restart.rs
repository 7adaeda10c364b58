//! Safe to kill at any moment: who connects while a daemon is away waits for the next process.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use tests::{capture::Goproxy, http, keeper::Keeper, peer};

fn start(keeper: &Keeper, origin: SocketAddr, more: &[(&str, &str)]) -> Goproxy {
    let address = keeper.address();
    let program = keeper.program();
    let program: Vec<&str> = program.iter().map(String::as_str).collect();
    let variables: Vec<_> = more.iter().copied().chain([("NOTIFY_SOCKET", address.as_str())]).collect();
    // Nobody listens at port 1.
    let mut proxy = Goproxy::start_under(&program, "restart", origin, 1, &variables);
    proxy.daemon.announce("no forwarder").announce("was not there").announce("lost");
    keeper.wait_until_ready();
    proxy
}

#[test]
fn who_connects_while_goproxy_is_away_waits_for_the_next() {
    let keeper = Keeper::default();
    let origin = peer::http_service(b"ok");
    let health = peer::listen().1.to_string();
    let first = start(&keeper, origin, &[("HEALTH_ADDR", &health)]);
    let port = first.port;
    assert_eq!(keeper.names().len(), 3, "the listeners of traffic, health and metrics: {:?}", keeper.names());
    first.daemon.kill();

    // Killed at once, and yet nobody is refused.
    let mut waiting: Vec<TcpStream> = (0..20).map(|_| peer::connect(port)).collect();
    for client in &mut waiting {
        client.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n").unwrap();
    }
    let listen = port.to_string();
    let second = start(&keeper, origin, &[("PROXY_IN_PORT", &listen), ("HEALTH_ADDR", &health)]);
    assert_eq!(second.port, port);
    for mut client in waiting {
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n\r\nok") {
            client.read_exact(&mut byte).unwrap();
            answer.extend(byte);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
    second.daemon.kill();

    // The settings name another port: nobody may wait at the old one for ever.
    let third = start(&keeper, origin, &[("HEALTH_ADDR", &health)]);
    assert_ne!(third.port, port);
    let old = format!("everywhere@{port}");
    assert!(!keeper.names().contains(&old), "{:?}", keeper.names());
    TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    assert!(peer::get(third.port, "/").ends_with("ok"));
    third.daemon.kill();
}

#[test]
fn what_was_open_to_loopback_may_be_opened_to_all_and_closed_again() {
    let keeper = Keeper::default();
    let origin = peer::http_service(b"ok");
    let port = peer::listen().1.port();
    for (address, name) in [("127.0.0.1", "127.0.0.1"), ("[::]", "everywhere"), ("127.0.0.1", "127.0.0.1")] {
        let health = format!("{address}:{port}");
        let proxy = start(&keeper, origin, &[("HEALTH_ADDR", &health)]);
        assert!(http::get(port, "/livez").contains("ok"), "{health}");
        let names = keeper.names();
        let kept: Vec<_> = names.iter().filter(|name| name.ends_with(&format!("@{port}"))).collect();
        assert_eq!(kept, [&format!("{name}@{port}")]);
        proxy.daemon.kill();
    }
}
