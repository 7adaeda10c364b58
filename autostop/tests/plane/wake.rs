//! Waking: nobody loses a byte, and who only looks wakes nothing.

use std::time::Duration;

use autostop::wire::{Phase, Preset};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time,
};

use crate::{
    peers::{Server, ask, echo, noise, reverse},
    scene::{Scene, connect, free_port, soon, tcp_target, wait_for},
};

/// A client that says random bytes in random pieces, half-closes, and hears them backwards.
async fn talk(port: u16, seed: u64, length: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let said = noise(seed, length);
    let (mut reads, mut writes) = connect(port).await.into_split();
    let mut heard = Vec::new();
    let (wrote, read) = tokio::join!(
        async {
            let mut rest = said.as_slice();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(random.usize(1..=rest.len().min(40_000)));
                writes.write_all(now).await?;
                tokio::task::yield_now().await;
                rest = later;
            }
            writes.shutdown().await
        },
        soon("the answer", reads.read_to_end(&mut heard))
    );
    wrote.unwrap();
    read.unwrap();
    heard.reverse();
    assert!(heard == said, "{} of {} bytes, seed {seed}", heard.len(), said.len());
}

/// Ten targets, each put to sleep and woken twenty times under clients that come at any moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_arrives_through_two_hundred_wakes() {
    let servers: Vec<u16> = (0..10).map(|_| free_port()).collect();
    let (targets, ports): (Vec<_>, Vec<_>) = servers
        .iter()
        .enumerate()
        .map(|(place, server)| tcp_target(&format!("rule-{place}"), *server, Preset::Tcp))
        .unzip();
    let scene = Scene::start(targets).await;
    let mut rules = Vec::new();
    for (place, (server, port)) in servers.into_iter().zip(ports).enumerate() {
        let control = scene.control.clone();
        rules.push(tokio::spawn(async move {
            let rule = format!("rule-{place}");
            let mut random = fastrand::Rng::with_seed(place as u64);
            for round in 0..20 {
                let seed = place as u64 * 1000 + round * 10;
                let clients: Vec<_> = (0..3)
                    .map(|client| tokio::spawn(talk(port, seed + client, random.usize(1..150_000))))
                    .collect();
                let before = control.wakes(&rule).len();
                wait_for("a wake", || (control.wakes(&rule).len() > before).then_some(())).await;
                control.waking(&rule);
                if random.bool() {
                    // Sleeps: it is known to be starting for a while before its port opens.
                    time::sleep(Duration::from_millis(random.u64(1..60))).await;
                }
                let service = Server::start(server, reverse).await;
                if random.bool() {
                    control.awake(&rule);
                }
                for client in clients {
                    client.await.unwrap();
                }
                let fenced = loop {
                    let fenced = control.fence(&rule).await;
                    if fenced.open_connections == 0 {
                        break fenced;
                    }
                };
                assert_eq!(fenced.parked, 0);
                drop(service);
                control.phase(&rule, Phase::Asleep);
            }
        }));
    }
    for rule in rules {
        rule.await.unwrap();
    }
    assert_eq!(scene.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_parked_clients_are_all_served_after_one_wake() {
    let server = free_port();
    let (target, port) = tcp_target("crowd", server, Preset::Tcp);
    let scene = Scene::start(vec![target]).await;
    let clients: Vec<_> = (0..2_000).map(|seed| tokio::spawn(talk(port, seed, 700))).collect();
    let told = scene.control.told("crowd", "2,000 parked", |told| told.parked == 2_000).await;
    assert_eq!((told.open_connections, told.open_requests), (0, 0));
    let wakes = scene.control.wakes("crowd").len();
    assert!((1..=40).contains(&wakes), "{wakes} wakes: one a second at most");
    scene.control.waking("crowd");
    let service = Server::start(server, reverse).await;
    for client in clients {
        client.await.unwrap();
    }
    assert!(service.accepted() >= 2_000);
    scene.control.awake("crowd");
    let told =
        scene.control.told("crowd", "nobody left", |told| told.open_connections + told.parked == 0).await;
    assert_eq!((told.parked, told.bytes_up, told.bytes_down), (0, 1_400_000, 1_400_000));
    assert_eq!(scene.stop().await, 0);
}

#[tokio::test]
async fn a_port_scan_wakes_nothing_and_a_client_that_stays_does() {
    let server = free_port();
    let (mut target, port) = tcp_target("box", server, Preset::Ssh);
    target.wake_grace_ms = 2_000;
    let scene = Scene::start(vec![target]).await;
    for _ in 0..20 {
        drop(connect(port).await);
    }
    let mut greeted = Vec::new();
    let mut scan = connect(port).await;
    scan.shutdown().await.unwrap();
    soon("the end", scan.read_to_end(&mut greeted)).await.unwrap();
    assert!(greeted.is_empty(), "a scan is told nothing");
    scene.control.told("box", "nobody parked", |told| told.parked == 0).await;
    assert!(scene.control.wakes("box").is_empty());

    let stays = connect(port).await;
    let came = time::Instant::now();
    let wake = scene.control.woken("box").await;
    assert!(came.elapsed() >= Duration::from_millis(1_900), "the grace was given");
    assert_eq!((wake.peer, wake.protocol), (stays.local_addr().unwrap().to_string(), "ssh".to_owned()));
    assert_eq!(wake.detail, format!("port {port}"));
}

#[tokio::test]
async fn a_byte_wakes_at_once() {
    let (mut target, port) = tcp_target("box", free_port(), Preset::Tcp);
    target.wake_grace_ms = 3_600_000;
    let scene = Scene::start(vec![target]).await;
    let mut client = connect(port).await;
    client.write_all(b"x").await.unwrap();
    scene.control.woken("box").await;
}

#[tokio::test]
async fn clients_that_leave_are_forgotten() {
    let (target, port) = tcp_target("box", free_port(), Preset::Postgres);
    let (half, half_port) = tcp_target("half", free_port(), Preset::Tcp);
    let scene = Scene::start(vec![target, half]).await;
    let clients: Vec<TcpStream> = {
        let mut clients = Vec::new();
        for _ in 0..50 {
            let mut client = connect(port).await;
            client.write_all(b"\0\0\0\x08\x04\xd2\x16\x2f").await.unwrap();
            clients.push(client);
        }
        clients
    };
    let mut stays = connect(half_port).await;
    stays.write_all(b"question").await.unwrap();
    stays.shutdown().await.unwrap();
    let mut resets = connect(half_port).await;
    resets.write_all(b"question").await.unwrap();
    let mut both = connect(half_port).await;
    both.write_all(b"question").await.unwrap();
    both.shutdown().await.unwrap();
    scene.control.told("box", "50 parked", |told| told.parked == 50).await;
    scene.control.told("half", "3 parked", |told| told.parked == 3).await;
    drop(clients);
    for resets in [resets, both] {
        socket2::SockRef::from(&resets).set_linger(Some(Duration::ZERO)).unwrap();
    }
    scene.control.told("box", "nobody parked", |told| told.parked == 0).await;
    scene.control.told("half", "one that waits for its answer", |told| told.parked == 1).await;
}

#[tokio::test]
async fn only_those_who_may_wake_it_do() {
    let server = free_port();
    let (mut target, port) = tcp_target("box", server, Preset::Tcp);
    target.wakers = vec!["192.0.2.0/24".to_owned()];
    let scene = Scene::start(vec![target]).await;
    let mut client = connect(port).await;
    client.write_all(b"let me in").await.unwrap();
    scene.control.told("box", "one parked", |told| told.parked == 1).await;
    scene.control.activity("box").await;
    assert!(scene.control.wakes("box").is_empty());
    // Somebody else woke it.
    let _server = Server::start(server, echo).await;
    scene.control.waking("box");
    let mut heard = [0; 9];
    soon("the echo", client.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"let me in");
}

#[tokio::test]
async fn without_its_control_plane_it_carries_and_parks_as_before() {
    let server = free_port();
    let (awake, port) = tcp_target("awake", server, Preset::Tcp);
    let (asleep, asleep_port) = tcp_target("asleep", server, Preset::Tcp);
    let mut scene = Scene::start(vec![awake, asleep]).await;
    let _server = Server::start(server, echo).await;
    scene.control.awake("awake");
    let mut before = connect(port).await;
    before.write_all(b"1").await.unwrap();
    assert_eq!(soon("the echo", before.read_u8()).await.unwrap(), b'1');

    let serving = scene.serving.take().unwrap();
    let address = serving.address;
    drop(serving);
    let admin = scene.admin.port();
    let noticed = async {
        while ask(admin, "GET /metrics HTTP/1.1\r\nHost: x").await.contains("link_failures_total 0") {
            tokio::task::yield_now().await;
        }
    };
    soon("it to notice", noticed).await;
    before.write_all(b"2").await.unwrap();
    assert_eq!(soon("the echo", before.read_u8()).await.unwrap(), b'2');
    let mut during = connect(port).await;
    during.write_all(b"3").await.unwrap();
    assert_eq!(soon("the echo", during.read_u8()).await.unwrap(), b'3');
    let mut parked = connect(asleep_port).await;
    parked.write_all(b"4").await.unwrap();

    scene.serving = Some(scene.control.serve(address).await);
    let hellos =
        wait_for("it to come back", || Some(scene.control.hellos()).filter(|hellos| hellos.len() > 1)).await;
    assert!(hellos.iter().all(|hello| *hello == hellos[0]), "{hellos:?}");
    scene.control.forget_wakes();
    scene.control.woken("asleep").await;
    scene.control.awake("asleep");
    assert_eq!(soon("the echo", parked.read_u8()).await.unwrap(), b'4');
}
