//! A front over loopback: what waits does not hold up the end, and checks do not pile up.

use std::net::SocketAddr;

use tokio::io::AsyncReadExt as _;

use super::*;
use crate::tcp::ServerSpec;

fn spec(server: SocketAddr) -> Spec {
    Spec {
        name: "f".to_owned(),
        backend: "b".to_owned(),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        servers: vec![ServerSpec {
            name: "s".to_owned(),
            host: server.ip().to_string(),
            port: server.port(),
            weight: 1,
            check: Some(server.port()),
            send_proxy: None,
        }],
        most_connections: 9,
        connect_time: Duration::from_secs(5),
        idle_time: Duration::from_secs(60),
        retries: 1000,
        redispatches: false,
        check_every: Duration::from_millis(1),
        fall: 1,
        rise: 1,
        accepts_proxy: false,
        logs: false,
    }
}

#[tokio::test]
async fn a_client_that_waits_for_a_server_does_not_hold_up_an_end_that_is_insisted_on() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listener = listen::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let (front, drain) = (Arc::new(Front::new(spec(gone), Names::new(Vec::new()))), Drain::default());
    drain.spawn(Arc::clone(&front).accept(listener, drain.clone()));
    let mut client = TcpStream::connect(address).await.unwrap();
    while front.back().counts[0].connect_errors.load(Ordering::Relaxed) == 0 {
        // Sleeps: between two looks at the condition.
        time::sleep(Duration::from_millis(5)).await;
    }
    drain.ask();
    drain.insist();
    // Without this it is a thousand tries, a second apart.
    time::timeout(Duration::from_secs(20), drain.idle()).await.unwrap();
    assert_eq!(drain.cut(), 1);
    assert!(!matches!(client.read(&mut [0]).await, Ok(1..)), "it is closed");
}

#[tokio::test]
async fn a_server_is_asked_once_at_a_time_how_it_is() {
    // Nobody accepts, and the kernel takes no more than it may.
    let server = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    server.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    server.listen(0).unwrap();
    let address = server.local_addr().unwrap().as_socket().unwrap();
    let _full = [(); 1].map(|()| std::net::TcpStream::connect(address).unwrap());
    let front = Arc::new(Front::new(spec(address), Names::new(Vec::new())));
    let back = front.back();
    // One that has been on its way before these.
    let (one, other) = (front.look(&back, 0), front.look(&back, 0));
    let (mut one, mut other) = (Box::pin(one), Box::pin(other));
    let waits =
        std::future::poll_fn(|context| std::task::Poll::Ready(one.as_mut().poll(context).is_pending()));
    assert!(waits.await, "it waits for the server");
    other.as_mut().await;
    assert_eq!(back.counts[0].checks_failed.load(Ordering::Relaxed), 0, "it leaves that to the other");
    drop(one);
    assert!(!back.counts[0].is_checked.load(Ordering::Relaxed), "and another one may begin");
}
