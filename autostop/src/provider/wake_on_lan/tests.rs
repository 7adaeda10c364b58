//! Packets and connections over loopback.

use std::time::Duration;

use tokio::net::TcpListener;

use super::*;

fn target(ids: &[&str], params: &str) -> Target {
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    Target { kind: "instance".into(), ids, params: serde_json::from_str(params).unwrap() }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn provider(broadcast: SocketAddr, port: u16, stop: &[&str]) -> WakeOnLan {
    let host = Host { mac: "52:54:00:12:34:56".into(), address: "127.0.0.1".into(), port: None };
    WakeOnLan::new(options::WakeOnLan {
        broadcast,
        port,
        stop: stop.iter().map(|part| (*part).to_owned()).collect(),
        hibernate: Vec::new(),
        hosts: [("pc".to_owned(), host)].into(),
    })
}

#[tokio::test]
async fn the_packet_of_the_host_goes_out_more_than_once() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let provider = provider(socket.local_addr().unwrap(), 22, &[]);
    let by_mac = target(&["52-54-00-00-00-01"], r#"{"address":"10.0.0.9"}"#);
    for (target, mac) in
        [(target(&["pc"], "{}"), [0x52, 0x54, 0, 0x12, 0x34, 0x56]), (by_mac, [0x52, 0x54, 0, 0, 0, 1])]
    {
        provider.start(&target, soon()).await.unwrap();
        for _ in 0..REPEATS {
            let mut packet = [0; 200];
            let bytes = socket.recv(&mut packet).await.unwrap();
            assert_eq!(packet[..bytes], packet::magic(mac));
        }
    }
    let error = provider.start(&target(&["who"], "{}"), soon()).await.unwrap_err();
    assert_eq!(error.fault, Fault::Gone);
}

#[tokio::test]
async fn a_host_that_answers_is_up_even_when_it_says_no() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let provider = provider(broadcast(), port, &[]);
    let target = target(&["pc", "who"], "{}");
    let seen = provider.status(&target, soon()).await.unwrap();
    assert_eq!((seen["pc"].status, seen["who"].status), (Status::Running, Status::Missing));
    assert_eq!(seen["pc"].addresses, ["127.0.0.1"]);
    drop(listener);
    assert_eq!(provider.describe(&target, soon()).await.unwrap()["pc"].status, Status::Running);
}

fn broadcast() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9))
}

#[tokio::test]
async fn a_host_that_is_silent_is_down_and_a_name_that_is_unknown_tells_nothing() {
    // A listener whose queue is full drops what comes, as a host that is off does.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let place = listener.local_addr().unwrap();
    let mut open = Vec::new();
    while let Ok(connection) = time::timeout(Duration::from_millis(200), TcpStream::connect(place)).await {
        open.push(connection.unwrap());
    }
    let provider = provider(broadcast(), place.port(), &[]);
    let moment = Instant::now() + Duration::from_millis(300);
    let seen = provider.status(&target(&["pc"], "{}"), moment).await.unwrap();
    assert_eq!(seen["pc"].status, Status::Stopped);
    let unknown = target(&["x"], r#"{"address":"no-such-host.invalid"}"#);
    assert_eq!(provider.status(&unknown, soon()).await.unwrap()["x"].status, Status::Unknown);
}

#[tokio::test]
async fn it_is_shut_down_by_the_command_with_its_address() {
    let provider = provider(broadcast(), 22, &["test", "{address}/{id}", "=", "127.0.0.1/pc"]);
    provider.stop(&target(&["pc"], "{}"), Stop::Shutdown, soon()).await.unwrap();
    let error = provider.stop(&target(&["pc"], "{}"), Stop::Hibernate, soon()).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unsupported);
}
