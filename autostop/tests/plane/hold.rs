//! Waiting, in the words of each protocol, and the truth when it was in vain.

use std::time::Duration;

use autostop::wire::{Phase, Preset, Target};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};

use crate::{
    peers::{Server, ask, echo, noise},
    scene::{Scene, connect, free_port, local, soon, tcp_target, wait_for},
};

const STARTUP: &[u8] = b"\0\0\0\x0f\0\x03\0\0user\0x\0";
const ASK_TLS: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";

/// What a client that says this hears until the end, or how it was ended.
async fn hear(port: u16, said: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut client = TcpStream::connect(local(port)).await?;
    client.write_all(said).await?;
    let mut heard = Vec::new();
    soon("the end", client.read_to_end(&mut heard)).await.map(|_| heard)
}

fn impatient(rule_id: &str, preset: Preset) -> (Target, u16) {
    let (mut target, port) = tcp_target(rule_id, free_port(), preset);
    target.hold_ms = 300;
    target.wake_grace_ms = 50;
    (target, port)
}

#[tokio::test]
async fn ssh_clients_hear_every_second_how_long_it_takes_and_then_the_banner() {
    let server = free_port();
    let (target, port) = tcp_target("build-box", server, Preset::Ssh);
    let scene = Scene::start(vec![target]).await;
    scene.control.waking("build-box");
    let mut client = connect(port).await;
    client.write_all(b"SSH-2.0-client\r\n").await.unwrap();
    let (reads, _writes) = client.into_split();
    let mut lines = BufReader::new(reads).lines();
    for left in [19, 18] {
        let line = soon("a line", lines.next_line()).await.unwrap().unwrap();
        let about = |left: u64| format!("autostop: build-box is starting, about {left} s left");
        assert!([about(left), about(left + 1)].contains(&line), "{line}");
    }
    // An echo: the client's own words, unharmed, are what comes last.
    let _server = Server::start(server, echo).await;
    let mut last = soon("a line", lines.next_line()).await.unwrap().unwrap();
    while last.starts_with("autostop: ") {
        last = soon("a line", lines.next_line()).await.unwrap().unwrap();
    }
    assert_eq!(last, "SSH-2.0-client");
}

#[tokio::test]
async fn ssh_clients_are_told_why_it_failed() {
    let (target, port) = tcp_target("build-box", free_port(), Preset::Ssh);
    let scene = Scene::start(vec![target]).await;
    scene.control.state("build-box", Phase::Failed, |state| state.error = "no capacity".to_owned());
    scene.control.settled().await;
    let heard = hear(port, b"SSH-2.0-client\r\n").await.unwrap();
    assert_eq!(heard, b"autostop: build-box could not be started: no capacity\r\n");
}

#[tokio::test]
async fn postgres_clients_get_57p03_when_they_have_waited_long_enough() {
    let (target, port) = impatient("db", Preset::Postgres);
    let _scene = Scene::start(vec![target]).await;
    for said in [STARTUP.to_vec(), [ASK_TLS, STARTUP].concat()] {
        let mut client = connect(port).await;
        client.write_all(&said[..said.len().min(15)]).await.unwrap();
        let mut heard = Vec::new();
        if said.len() > 15 {
            // The answer to the request for TLS comes before the client begins.
            assert_eq!(soon("a letter", client.read_u8()).await.unwrap(), b'N');
            client.write_all(&said[15..]).await.unwrap();
        }
        soon("the end", client.read_to_end(&mut heard)).await.unwrap();
        let text = String::from_utf8_lossy(&heard);
        assert!(heard.first() == Some(&b'E') && text.contains("C57P03\0"), "{text}");
        assert!(text.contains("Mautostop: db is starting\0"), "{text}");
    }
}

#[tokio::test]
async fn a_request_for_tls_is_not_answered_while_it_waits() {
    let server = free_port();
    let (target, port) = tcp_target("db", server, Preset::Postgres);
    let scene = Scene::start(vec![target]).await;
    let mut client = connect(port).await;
    client.write_all(ASK_TLS).await.unwrap();
    scene.control.woken("db").await;
    scene.control.waking("db");
    let _server = Server::start(server, echo).await;
    let mut heard = [0; 8];
    soon("its own words", client.read_exact(&mut heard)).await.unwrap();
    assert_eq!(heard, ASK_TLS, "the server, and nobody else, answers it");
}

#[tokio::test]
async fn mysql_clients_get_an_error_packet() {
    let (target, port) = impatient("db", Preset::Mysql);
    let _scene = Scene::start(vec![target]).await;
    let heard = hear(port, b"").await.unwrap();
    assert_eq!(&heard[3..7], b"\0\xff\xd8\x0b");
    assert!(heard.ends_with(b"autostop: db is starting"), "{heard:?}");
}

#[tokio::test]
async fn others_are_held_and_then_reset() {
    let (rdp, rdp_port) = impatient("desk", Preset::Rdp);
    let (tcp, tcp_port) = impatient("any", Preset::Tcp);
    let _scene = Scene::start(vec![rdp, tcp]).await;
    for port in [rdp_port, tcp_port] {
        let error = hear(port, b"x").await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn no_more_are_held_than_there_is_room_for_nor_more_of_what_they_send() {
    let server = free_port();
    let (mut target, port) = tcp_target("box", server, Preset::Tcp);
    (target.hold_clients, target.hold_bytes) = (2, 1000);
    let scene = Scene::start(vec![target]).await;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = connect(port).await;
        let mut sent = 0;
        // The kernels' buffers fill; then the client has to keep the rest itself.
        while let Ok(written) = timeout(Duration::from_millis(300), client.write(&[7; 500_000])).await {
            sent += written.unwrap();
            assert!(sent < 64 << 20, "nothing holds the client back");
        }
        clients.push((client, sent));
    }
    scene.control.told("box", "two parked", |told| told.parked == 2).await;
    assert_eq!(hear(port, b"").await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let _server = Server::start(server, echo).await;
    scene.control.waking("box");
    for (client, sent) in &mut clients {
        let mut heard = vec![0; *sent];
        soon("all of it", client.read_exact(&mut heard)).await.unwrap();
        assert!(heard.iter().all(|byte| *byte == 7));
    }
}

#[tokio::test]
async fn what_all_of_them_send_is_held_within_one_limit() {
    let server = free_port();
    let (mut target, port) = tcp_target("box", server, Preset::Tcp);
    target.hold_bytes = 100_000;
    let scene = Scene::start(vec![target]).await;
    let clients: Vec<_> = (0..8)
        .map(|number| {
            tokio::spawn(async move {
                let (mut reads, mut writes) = connect(port).await.into_split();
                let said = noise(number, 300_000);
                let mut heard = vec![0; said.len()];
                let (wrote, read) = tokio::join!(writes.write_all(&said), reads.read_exact(&mut heard));
                wrote.unwrap();
                read.unwrap();
                assert!(heard == said, "the bytes are others");
            })
        })
        .collect();
    scene.control.told("box", "eight parked", |told| told.parked == 8).await;
    let held = async || {
        let metrics = ask(scene.admin.port(), "GET /metrics HTTP/1.1\r\nHost: x").await;
        let line = metrics.lines().find_map(|line| line.strip_prefix("lw_tcp_proxy_held_bytes "));
        let held: usize = line.unwrap_or_else(|| panic!("{metrics}")).trim().parse().unwrap();
        assert!(held <= 100_000, "{held} bytes are held");
        held
    };
    let full = async { while held().await < 100_000 {} };
    soon("the limit to be reached", full).await;
    let _server = Server::start(server, echo).await;
    scene.control.waking("box");
    for client in clients {
        soon("all of it", client).await.unwrap();
    }
    soon("nothing to be held", async { while held().await > 0 {} }).await;
}

#[tokio::test]
async fn a_target_that_is_closed_or_not_planned_any_more_takes_nobody() {
    let (target, port) = tcp_target("box", free_port(), Preset::Tcp);
    let (gone, gone_port) = tcp_target("gone", free_port(), Preset::Tcp);
    let scene = Scene::start(vec![target, gone]).await;
    let mut waits = connect(gone_port).await;
    waits.write_all(b"x").await.unwrap();
    scene.control.woken("gone").await;
    let revision = scene.control.plan(|plan| plan.targets.retain(|target| target.rule_id != "gone"));
    let listening = scene.control.listening(revision).await;
    assert_eq!(listening.ports.iter().map(|told| told.port).collect::<Vec<_>>(), [u32::from(port)]);
    assert!(soon("the end", waits.read_u8()).await.is_err());
    wait_for("the port to be closed", || std::net::TcpStream::connect(local(gone_port)).err()).await;

    scene.control.phase("box", Phase::Closed);
    wait_for("the phase to be taken", || {
        let mut stream = std::net::TcpStream::connect(local(port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let ended = std::io::Read::read(&mut stream, &mut [0]);
        matches!(ended, Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_and_tried_again() {
    let (target, port) = tcp_target("box", free_port(), Preset::Tcp);
    let scene = Scene::start(Vec::new()).await;
    let taken = std::net::TcpListener::bind(local(port)).unwrap();
    let revision = scene.control.plan(|plan| plan.targets.push(target));
    let listening = scene.control.listening(revision).await;
    assert!(listening.ports[0].error.contains("in use"), "{listening:?}");
    drop(taken);
    wait_for("the port", || {
        let now = scene.control.listening_now();
        (now.plan_revision == revision && now.ports[0].error.is_empty()).then_some(())
    })
    .await;
    connect(port).await;
}

#[tokio::test]
async fn the_proxy_protocol_passes_who_the_client_is() {
    let server = free_port();
    let (mut target, port) = tcp_target("box", server, Preset::Tcp);
    target.proxy_protocol_out = 1;
    target.tcp[0].proxy_protocol_in = true;
    let scene = Scene::start(vec![target]).await;
    let _server = Server::start(server, echo).await;
    let mut client = connect(port).await;
    client.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 51122 22\r\nhello\n").await.unwrap();
    let wake = scene.control.woken("box").await;
    assert_eq!(wake.peer, "192.0.2.1:51122");
    scene.control.awake("box");
    let mut lines = BufReader::new(client).lines();
    let first = soon("the header", lines.next_line()).await.unwrap().unwrap();
    assert_eq!(first, format!("PROXY TCP4 192.0.2.1 127.0.0.1 51122 {port}"));
    assert_eq!(soon("the rest", lines.next_line()).await.unwrap().unwrap(), "hello");
    assert!(hear(port, b"no header").await.is_err());
}

#[tokio::test]
async fn a_stop_waits_for_what_is_open_and_an_insisted_one_cuts_and_counts_it() {
    let server = free_port();
    let (target, port) = tcp_target("box", server, Preset::Tcp);
    let scene = Scene::start(vec![target]).await;
    let _server = Server::start(server, echo).await;
    scene.control.awake("box");
    let mut open = connect(port).await;
    open.write_all(b"1").await.unwrap();
    assert_eq!(soon("an echo", open.read_u8()).await.unwrap(), b'1');
    scene.drain.ask();
    wait_for("the port to be closed", || std::net::TcpStream::connect(local(port)).err()).await;
    open.write_all(b"2").await.unwrap();
    assert_eq!(soon("an echo", open.read_u8()).await.unwrap(), b'2');
    scene.drain.insist();
    assert_eq!(scene.stop().await, 1);
}
