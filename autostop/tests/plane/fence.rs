//! The fence: whoever comes is either counted or parked, and never cut.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use autostop::wire::{Preset, TargetActivity};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    peers::{Server, echo},
    scene::{Scene, connect, free_port, soon, tcp_target, wait_for},
};

/// Clients come all the time while the target is fenced again and again. When the count of a fence is 0
/// the service ends its life, as a stop would; nobody may notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_cut_by_a_stop_that_trusts_the_count() {
    let server = free_port();
    let (target, port) = tcp_target("box", server, Preset::Tcp);
    let scene = Scene::start(vec![target]).await;
    let mut service = Some(Server::start(server, echo).await);
    scene.control.awake("box");
    let done = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (done, served) = (Arc::clone(&done), Arc::clone(&served));
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let mut client = connect(port).await;
                    client.write_all(b"ping").await.unwrap();
                    let mut heard = [0; 4];
                    soon("an echo", client.read_exact(&mut heard)).await.expect("nobody is cut");
                    assert_eq!(&heard, b"ping");
                    drop(client);
                    served.fetch_add(1, Ordering::Relaxed);
                    // Sleeps: now and then nobody is there.
                    tokio::time::sleep(std::time::Duration::from_millis(fastrand::u64(0..8))).await;
                }
            })
        })
        .collect();
    let mut stops = 0;
    for _ in 0..2_000 {
        let fenced = scene.control.fence("box").await;
        if fenced.open_connections == 0 && stops < 60 {
            stops += 1;
            drop(service.take());
            let before = served.load(Ordering::Relaxed);
            service = Some(Server::start(server, echo).await);
            scene.control.awake("box");
            wait_for("somebody to be served", || (served.load(Ordering::Relaxed) > before).then_some(()))
                .await;
        } else {
            scene.control.awake("box");
        }
        if stops >= 60 {
            break;
        }
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert!(stops >= 10, "only {stops} stops were tried");
}

#[tokio::test]
async fn a_fence_counts_what_is_open_and_parks_what_comes() {
    let server = free_port();
    let (target, port) = tcp_target("box", server, Preset::Tcp);
    let scene = Scene::start(vec![target]).await;
    let _service = Server::start(server, echo).await;
    scene.control.awake("box");
    let mut open = Vec::new();
    for _ in 0..5 {
        let mut client = connect(port).await;
        client.write_all(b"x").await.unwrap();
        soon("an echo", client.read_u8()).await.unwrap();
        open.push(client);
    }
    let fenced = scene.control.fence("box").await;
    assert_eq!((fenced.open_connections, fenced.parked), (5, 0));
    assert!(fenced.idle_ms < 5_000);
    for client in &mut open {
        client.write_all(b"y").await.unwrap();
        assert_eq!(soon("an echo", client.read_u8()).await.unwrap(), b'y', "nobody is cut");
    }
    let mut late = connect(port).await;
    late.write_all(b"z").await.unwrap();
    let fits = |told: &TargetActivity| told.parked == 1 && told.open_connections == 5;
    let told = scene.control.told("box", "five open and one parked", fits).await;
    assert!(told.holders.len() == 5 && told.holders.iter().all(|holder| holder.counts));
    scene.control.awake("box");
    assert_eq!(soon("an echo", late.read_u8()).await.unwrap(), b'z');
}
