//! WebSockets over one stream of HTTP/2 (RFC 8441), before targets that know those of HTTP/1.1.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http2::SendRequest, ext::Protocol};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    peers::{Server, ask, echo, noise},
    scene::{Scene, connect, free_port, http_target, soon},
    web::HOST,
};

type Client = SendRequest<Full<Bytes>>;

/// A conversation whose beginnings are over, so that the server has said that it takes extended CONNECT.
async fn converse(scene: &Scene) -> Client {
    let stream = TokioIo::new(connect(scene.http.port()).await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let nowhere = Request::get("http://nobody.example.com/").body(Full::default()).unwrap();
    assert_eq!(soon("an answer", sender.send_request(nowhere)).await.unwrap().status(), 404);
    sender
}

async fn open(client: &mut Client, path: &str, protocol: &'static str) -> Response<Incoming> {
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://{HOST}{path}"))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .body(Full::default())
        .unwrap();
    request.extensions_mut().insert(Protocol::from_static(protocol));
    soon("an answer", client.send_request(request)).await.unwrap()
}

/// What a server of RFC 6455 answers to this opening.
fn accept(head: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap().trim();
    assert_eq!(STANDARD.decode(key).unwrap().len(), 16);
    let salted = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, salted.as_bytes()))
}

/// Answers by path, and echoes what comes over a WebSocket.
async fn service(mut stream: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    for line in ["HTTP/1.1\r\n", "connection: upgrade", "upgrade: websocket", "sec-websocket-protocol: chat"]
    {
        assert!(head.contains(line), "{line} in {head}");
    }
    assert!(head.starts_with("GET "), "{head}");
    let went_over = |accept: &str| {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        )
    };
    let answer = match head.split(' ').nth(1).unwrap() {
        "/live" => went_over(&accept(&head)),
        "/wrong" => went_over("c29tZSBvdGhlciBrZXk="),
        "/forbidden" => "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_owned(),
        _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
    };
    stream.write_all(answer.as_bytes()).await.unwrap();
    echo(stream).await;
}

#[tokio::test]
async fn a_websocket_of_http2_wakes_is_carried_and_counts_as_a_connection() {
    let server = free_port();
    let scene = Scene::start(vec![http_target("shop", HOST, server)]).await;
    let mut client = converse(&scene).await;
    let mut second = client.clone();
    let opening = tokio::spawn(async move { open(&mut client, "/live", "websocket").await });
    assert_eq!(scene.control.woken("shop").await.detail, format!("CONNECT {HOST}/live"));
    let _server = Server::start(server, service).await;
    scene.control.waking("shop");
    let answer = opening.await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
    for name in ["connection", "upgrade", "sec-websocket-accept", "content-length"] {
        assert!(!answer.headers().contains_key(name), "{name}");
    }
    let tunnel = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    let (mut reads, mut writes) = tokio::io::split(tunnel);
    let said = noise(7, 1_000_000);
    let (expected, mut heard) = (said.clone(), vec![0; 1_000_000]);
    let (wrote, read) = tokio::join!(writes.write_all(&said), soon("an echo", reads.read_exact(&mut heard)));
    wrote.unwrap();
    read.unwrap();
    assert!(heard == expected, "the bytes are others");
    let told = scene.control.told("shop", "one open", |told| told.open_connections == 1).await;
    assert_eq!((told.open_requests, told.holders[0].protocol.as_str()), (0, "websocket"));
    assert!(told.bytes_up >= 1_000_000 && told.bytes_down >= 1_000_000, "{told:?}");
    assert_eq!(scene.control.fence("shop").await.open_connections, 1);
    scene.control.awake("shop");
    // Another one on the same connection, and the end of the first, which leaves it alone.
    let other = open(&mut second, "/live", "websocket").await;
    let mut other = TokioIo::new(hyper::upgrade::on(other).await.unwrap());
    scene.control.told("shop", "two open", |told| told.open_connections == 2).await;
    writes.shutdown().await.unwrap();
    assert_eq!(soon("its end", reads.read(&mut heard)).await.unwrap(), 0);
    scene.control.told("shop", "one open", |told| told.open_connections == 1).await;
    other.write_all(b"still here").await.unwrap();
    let mut heard = [0; 10];
    soon("an echo", other.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"still here");
    drop((other, reads, writes, second));
    scene.control.told("shop", "none open", |told| told.open_connections == 0).await;
}

#[tokio::test]
async fn a_target_that_does_not_go_over_is_told_honestly() {
    let server = free_port();
    let scene = Scene::start(vec![http_target("shop", HOST, server)]).await;
    let _server = Server::start(server, service).await;
    scene.control.awake("shop");
    scene.control.settled().await;
    let mut client = converse(&scene).await;
    for (path, status) in [("/forbidden", 403), ("/wrong", 502), ("/page", 502)] {
        let answer = open(&mut client, path, "websocket").await;
        assert_eq!(answer.status(), status, "{path}");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(status != 403 || body == "no", "{body:?}");
    }
    scene.control.told("shop", "none open", |told| told.open_requests + told.open_connections == 0).await;
}

#[tokio::test]
async fn other_tunnels_are_refused_and_reach_nobody() {
    let server = free_port();
    let scene = Scene::start(vec![http_target("shop", HOST, server)]).await;
    let reached = Server::start(server, service).await;
    scene.control.awake("shop");
    scene.control.settled().await;
    let mut client = converse(&scene).await;
    assert_eq!(open(&mut client, "/live", "connect-udp").await.status(), 501);
    let forward = Request::builder().method(Method::CONNECT).uri(HOST).body(Full::default()).unwrap();
    assert_eq!(soon("an answer", client.send_request(forward)).await.unwrap().status(), 405);
    let answer = ask(scene.http.port(), &format!("CONNECT {HOST}:80 HTTP/1.1\r\nHost: {HOST}:80")).await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    assert_eq!(reached.accepted(), 0);
}
