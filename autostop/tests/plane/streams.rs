//! What is longer than a request and an answer: upgrades, events, HTTP/2 and TLS.

use std::sync::Arc;

use autostop::wire::Certificate;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{self, pki_types::CertificateDer},
};

use crate::{
    peers::{Server, mirror},
    scene::{Scene, connect, free_port, http_target, local, soon},
    web::{HOST, get},
};

#[tokio::test]
async fn a_websocket_is_carried_as_it_is_and_counts_as_a_connection() {
    let server = free_port();
    let scene = Scene::start(vec![http_target("shop", HOST, server)]).await;
    let _server = Server::start(server, |mut stream: TcpStream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let text = String::from_utf8_lossy(&head).to_lowercase();
        assert!(text.contains("upgrade: websocket") && text.contains("connection: upgrade"), "{text}");
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        crate::peers::echo(stream).await;
    })
    .await;
    scene.control.awake("shop");
    scene.control.settled().await;
    let mut client = connect(scene.http.port()).await;
    let head = get("/live", "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(soon("an answer", client.read_u8()).await.unwrap());
    }
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(answer.starts_with("http/1.1 101") && answer.contains("upgrade: websocket"), "{answer}");
    client.write_all(&[7; 100_000]).await.unwrap();
    let mut heard = vec![0; 100_000];
    soon("an echo", client.read_exact(&mut heard)).await.unwrap();
    let told = scene.control.told("shop", "one open", |told| told.open_connections == 1).await;
    assert_eq!((told.open_requests, told.holders[0].protocol.as_str()), (0, "websocket"));
    client.shutdown().await.unwrap();
    scene.control.told("shop", "none open", |told| told.open_connections == 0).await;
}

#[tokio::test]
async fn a_stream_of_events_counts_for_as_long_as_it_is_open() {
    let server = free_port();
    let scene = Scene::start(vec![http_target("shop", HOST, server)]).await;
    let _server = Server::start(server, |mut stream: TcpStream| async move {
        stream.read_u8().await.ok();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n").await.ok();
        std::future::pending::<()>().await;
    })
    .await;
    scene.control.awake("shop");
    scene.control.settled().await;
    let mut client = connect(scene.http.port()).await;
    client.write_all((get("/events", "") + "\r\n\r\n").as_bytes()).await.unwrap();
    let mut buffer = vec![0; 1024];
    soon("an event", client.read(&mut buffer)).await.unwrap();
    let fits = |told: &autostop::wire::TargetActivity| told.open_requests == 1;
    assert_eq!(scene.control.told("shop", "one open", fits).await.idle_ms, 0);
    let fenced = scene.control.fence("shop").await;
    assert_eq!((fenced.open_requests, fenced.idle_ms), (1, 0));
    drop(client);
    scene.control.told("shop", "none open", |told| told.open_requests == 0).await;
}

/// A gRPC service in miniature: HTTP/2 in clear, an answer with trailers.
async fn grpc(stream: TcpStream) {
    let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async move {
        assert_eq!(request.headers()["te"], "trailers");
        let authority = request.uri().authority().unwrap().to_string();
        let body = request.into_body().collect().await?.to_bytes();
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let said = Bytes::from(format!("{authority} {}", body.len()));
        Ok::<_, hyper::Error>(http::Response::new(
            Full::new(said).with_trailers(async { Some(Ok(trailers)) }),
        ))
    });
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await
        .ok();
}

#[tokio::test]
async fn grpc_passes_with_its_trailers_also_to_one_that_was_asleep() {
    let server = free_port();
    let scene = Scene::start(vec![http_target("shop", HOST, server)]).await;
    let stream = TokioIo::new(connect(scene.http.port()).await);
    let (sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), stream)
            .await
            .unwrap();
    tokio::spawn(connection);
    let calls: Vec<_> = (0..20)
        .map(|length| {
            let mut sender = sender.clone();
            tokio::spawn(async move {
                let request = Request::post(format!("http://{HOST}/pkg.Service/Method"))
                    .header("content-type", "application/grpc")
                    .header("te", "trailers")
                    .body(Full::new(Bytes::from(vec![1; length * 1000])))
                    .unwrap();
                let answer = soon("an answer", sender.send_request(request)).await.unwrap();
                let body = answer.into_body().collect().await.unwrap();
                assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
                assert_eq!(body.to_bytes(), format!("{HOST} {}", length * 1000));
            })
        })
        .collect();
    scene.control.told("shop", "20 parked", |told| told.parked == 20).await;
    let _server = Server::start(server, grpc).await;
    scene.control.waking("shop");
    for call in calls {
        call.await.unwrap();
    }
}

fn certificate(name: &str) -> (Certificate, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = made.signing_key.serialize_pem();
    (Certificate { chain: made.cert.pem().into(), key: key.into() }, made.cert.der().clone())
}

/// What is shown to one who asks for this name and trusts this certificate, and what it then answers.
async fn over_tls(port: u16, name: &str, trusted: &CertificateDer<'static>, alpn: &[u8]) -> Option<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(local(port)).await.unwrap();
    let name = name.to_owned().try_into().unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn));
    let request = Request::get(format!("https://{HOST}/secret")).header("host", HOST);
    let request = request.body(Full::new(Bytes::new())).unwrap();
    let stream = TokioIo::new(stream);
    let answer = if alpn == b"h2" {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        soon("an answer", sender.send_request(request)).await
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        soon("an answer", sender.send_request(request)).await
    };
    let body = answer.unwrap().into_body().collect().await.unwrap().to_bytes();
    Some(String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn certificates_are_chosen_by_name_and_changed_while_it_runs() {
    let server = free_port();
    let scene = Scene::start(vec![http_target("shop", HOST, server)]).await;
    let _server = Server::start(server, mirror).await;
    scene.control.awake("shop");
    let (first, first_der) = certificate(HOST);
    let (other, other_der) = certificate("other.example.com");
    let revision = scene.control.plan(|plan| plan.certificates = vec![other, first]);
    scene.control.listening(revision).await;
    let port = scene.https.port();
    for alpn in [&b"h2"[..], b"http/1.1"] {
        let answer = over_tls(port, HOST, &first_der, alpn).await.unwrap();
        assert!(answer.contains("GET /secret HTTP/1.1"), "{answer}");
        assert!(answer.to_lowercase().contains("x-forwarded-proto: https"), "{answer}");
    }
    assert!(over_tls(port, "other.example.com", &other_der, b"http/1.1").await.is_some());
    assert!(over_tls(port, HOST, &other_der, b"http/1.1").await.is_none());
    let (second, second_der) = certificate(HOST);
    let revision = scene.control.plan(|plan| plan.certificates[1] = second);
    scene.control.listening(revision).await;
    assert!(over_tls(port, HOST, &second_der, b"http/1.1").await.is_some());
    assert!(over_tls(port, HOST, &first_der, b"http/1.1").await.is_none());
}
