//! HTTP: pages, holding, forwarding, upgrades, HTTP/2 and TLS.

use std::sync::Arc;

use autostop::wire::{Action, Certificate, HealthCheck, HttpRoute, Match, Phase};
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
    peers::{Server, ask, mirror},
    scene::{Scene, connect, free_port, http_target, local, soon, wait_for},
};

const HOST: &str = "shop.example.com";

fn get(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {HOST}{more}")
}

#[tokio::test]
async fn an_awake_target_gets_the_request_with_who_asked_and_without_the_hop() {
    let server = free_port();
    let scene = Scene::start(vec![http_target("shop", HOST, server)]).await;
    let _server = Server::start(server, mirror).await;
    scene.control.awake("shop");
    scene.control.settled().await;
    let more = "\r\nX-Forwarded-For: 192.0.2.9\r\nTE: gzip\r\nX-Hop: 1\r\nConnection: x-hop";
    let mut stream = connect(scene.http.port()).await;
    stream.write_all((get("/a?b=c", more) + "\r\n\r\n").as_bytes()).await.unwrap();
    let mut buffer = vec![0; 4096];
    let length = soon("an answer", stream.read(&mut buffer)).await.unwrap();
    let answer = String::from_utf8_lossy(&buffer[..length]).to_lowercase();
    assert!(answer.starts_with("http/1.1 200 ok"), "{answer}");
    for line in [
        "get /a?b=c http/1.1",
        "host: shop.example.com",
        "x-forwarded-for: 192.0.2.9, 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: shop.example.com",
    ] {
        assert!(answer.contains(line), "{line} in {answer}");
    }
    assert!(!answer.contains("x-hop") && !answer.contains("gzip"), "{answer}");
}

#[tokio::test]
async fn connections_to_a_target_are_used_again_and_one_that_broke_is_replaced() {
    let server = free_port();
    let scene = Scene::start(vec![http_target("shop", HOST, server)]).await;
    let first = Server::start(server, mirror).await;
    scene.control.awake("shop");
    scene.control.settled().await;
    let mut client = connect(scene.http.port()).await;
    let mut round = async |path: &str| {
        client.write_all((get(path, "") + "\r\n\r\n").as_bytes()).await.unwrap();
        let mut buffer = vec![0; 4096];
        let length = soon("an answer", client.read(&mut buffer)).await.unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    for number in 0..20 {
        assert!(round(&format!("/{number}")).await.starts_with("HTTP/1.1 200"));
    }
    assert_eq!(first.accepted(), 1);
    drop(first);
    let _second = Server::start(server, mirror).await;
    assert!(round("/again").await.starts_with("HTTP/1.1 200"));
}

/// A server that closes a kept connection just as a request is on its way to it.
#[tokio::test]
async fn a_request_that_crosses_the_end_of_a_kept_connection_is_asked_again() {
    let server = free_port();
    let scene = Scene::start(vec![http_target("shop", HOST, server)]).await;
    let service = Server::start(server, |mut stream: TcpStream| async move {
        let mut buffer = [0; 1024];
        if matches!(stream.read(&mut buffer).await, Ok(1..)) {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.ok();
            // The next request is heard, and never answered.
            stream.readable().await.ok();
        }
    })
    .await;
    scene.control.awake("shop");
    scene.control.settled().await;
    // One connection stays with one worker, and so with its connections.
    let mut client = connect(scene.http.port()).await;
    let mut round = async |head: String| {
        client.write_all((head + "\r\n\r\n").as_bytes()).await.unwrap();
        let mut buffer = vec![0; 4096];
        let length = soon("an answer", client.read(&mut buffer)).await.unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    for number in 1..4 {
        let answer = round(get("/", "")).await;
        assert!(answer.ends_with("ok"), "{answer}");
        assert_eq!(service.accepted(), number);
    }
    let answer = round(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0")).await;
    assert!(answer.starts_with("HTTP/1.1 502"), "it may have been done: {answer}");
}

/// A machine that was switched off takes its connections with it without a word.
#[tokio::test]
async fn a_connection_from_before_a_sleep_is_not_used_after_it() {
    let server = free_port();
    let scene = Scene::start(vec![http_target("shop", HOST, server)]).await;
    let _server = Server::start(server, |mut stream: TcpStream| async move {
        let mut buffer = [0; 1024];
        if matches!(stream.read(&mut buffer).await, Ok(1..)) {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.ok();
        }
        std::future::pending::<()>().await;
    })
    .await;
    for phase in [Phase::Fenced, Phase::Asleep, Phase::Waking, Phase::Fenced] {
        scene.control.awake("shop");
        scene.control.settled().await;
        let answer = soon("an answer", ask(scene.http.port(), &get("/", ""))).await;
        assert!(answer.ends_with("ok"), "{answer}");
        scene.control.phase("shop", phase);
    }
}

#[tokio::test]
async fn a_browser_sees_a_page_that_asks_until_it_is_ready() {
    let server = free_port();
    let scene = Scene::start(vec![http_target("shop", HOST, server)]).await;
    let port = scene.http.port();
    let html = "\r\nAccept: text/html,*/*";
    let page = ask(port, &get("/cart", html)).await;
    assert!(page.starts_with("HTTP/1.1 503") && page.contains("shop is starting"), "{page}");
    assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
    assert!(page.contains("retry-after: ") && page.contains("cache-control: no-store"), "{page}");
    assert_eq!(scene.control.woken("shop").await.detail, format!("GET {HOST}/cart"));
    for (file, kind) in [("progress.js", "text/javascript"), ("progress.css", "text/css")] {
        let answer = ask(port, &get(&format!("/.well-known/wayside/autostop/{file}"), "")).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(kind), "{answer}");
    }
    scene.control.waking("shop");
    scene.control.settled().await;
    let status = "/.well-known/wayside/autostop/status?path=%2Fcart";
    let told = ask(port, &get(status, "")).await;
    assert!(told.contains("\"ready\":false") && told.contains("\"expected_s\":20"), "{told}");
    let _server = Server::start(server, mirror).await;
    let ready = async {
        while !ask(port, &get(status, "")).await.contains("\"ready\":true") {
            tokio::task::yield_now().await;
        }
    };
    soon("it to be ready", ready).await;
    assert!(ask(port, &get("/cart", html)).await.contains("GET /cart"));
    scene.control.state("shop", Phase::Failed, |state| {
        state.error = "no <capacity>".to_owned();
        state.retry_after_ms = 7_000;
    });
    scene.control.settled().await;
    let failed = ask(port, &get("/cart", html)).await;
    assert!(failed.contains("retry-after: 7") && failed.contains("no &#60;capacity&#62;"), "{failed}");
}

#[tokio::test]
async fn others_are_held_with_their_bodies_and_served_or_told_to_come_again() {
    let server = free_port();
    let mut late = http_target("late", "late.example.com", free_port());
    late.hold_ms = 200;
    let scene = Scene::start(vec![http_target("shop", HOST, server), late]).await;
    let port = scene.http.port();
    let answer = ask(port, "GET / HTTP/1.1\r\nHost: late.example.com").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: "), "{answer}");
    assert!(answer.contains("late is starting"), "{answer}");

    let body = vec![b'x'; 3_000_000];
    let posting = tokio::spawn(async move {
        let mut client = connect(port).await;
        let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\r\n", body.len());
        let (mut reads, mut writes) = client.split();
        let (wrote, answer) = tokio::join!(
            async {
                writes.write_all(head.as_bytes()).await?;
                writes.write_all(&body).await
            },
            async {
                let mut answer = vec![0; 64];
                let length = soon("an answer", reads.read(&mut answer)).await.unwrap();
                String::from_utf8_lossy(&answer[..length]).into_owned()
            }
        );
        wrote.unwrap();
        answer
    });
    scene.control.woken("shop").await;
    assert_eq!(scene.control.told("shop", "one parked", |told| told.parked == 1).await.open_requests, 0);
    let _server = Server::start(server, |mut stream: TcpStream| async move {
        let (mut seen, mut buffer) = (0, vec![0; 65_536]);
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            seen += buffer[..length].iter().filter(|byte| **byte == b'x').count();
            if seen >= 3_000_000 {
                stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await.ok();
            }
        }
    })
    .await;
    scene.control.waking("shop");
    assert!(posting.await.unwrap().starts_with("HTTP/1.1 201"));
}

#[tokio::test]
async fn probes_and_exclusions_wake_nothing_and_an_unknown_host_is_told_so() {
    let mut target = http_target("shop", HOST, free_port());
    target.exclusions = vec![Match { path: "/health*".to_owned(), ..Match::default() }];
    target.http.push(HttpRoute {
        source_protocol: "http".to_owned(),
        source_port: 80,
        path: "/old".to_owned(),
        action: Action::Redirect.into(),
        redirect_url: "https://new.example.com/".to_owned(),
        ..HttpRoute::default()
    });
    let mut shy = http_target("shy", "shy.example.com", free_port());
    shy.inclusions = vec![Match { path: "/app/*".to_owned(), ..Match::default() }];
    let scene = Scene::start(vec![target, shy]).await;
    let port = scene.http.port();
    for head in [
        get("/healthz", ""),
        get("/", "\r\nUser-Agent: kube-probe/1.31"),
        "GET / HTTP/1.1\r\nHost: shy.example.com\r\nAccept: text/html".to_owned(),
    ] {
        let answer = ask(port, &head).await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("does not wake it"), "{answer}");
    }
    let answer = ask(port, "GET / HTTP/1.1\r\nHost: nobody.example.com").await;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("nobody.example.com"), "{answer}");
    let answer = ask(port, &get("/old/page", "")).await;
    assert!(answer.starts_with("HTTP/1.1 301"), "{answer}");
    assert!(answer.contains("location: https://new.example.com/"), "{answer}");
    scene.control.activity("shop").await;
    assert!(scene.control.wakes("shop").is_empty() && scene.control.wakes("shy").is_empty());
}

#[tokio::test]
async fn a_target_is_ready_when_its_health_check_says_so() {
    let server = free_port();
    let mut target = http_target("shop", HOST, server);
    target.health = Some(HealthCheck {
        protocol: "http".to_owned(),
        port: server.into(),
        path: "/ready".to_owned(),
        ..HealthCheck::default()
    });
    let scene = Scene::start(vec![target]).await;
    let well = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let state = Arc::clone(&well);
    let server = Server::start(server, move |mut stream: TcpStream| {
        let well = state.load(std::sync::atomic::Ordering::SeqCst);
        async move {
            let mut buffer = [0; 2048];
            while let Ok(1..) = stream.read(&mut buffer).await {
                let status = if well { "200 OK" } else { "500 Not Yet" };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.ok();
            }
        }
    })
    .await;
    let port = scene.http.port();
    let asked = tokio::spawn(async move { ask(port, &get("/", "")).await });
    scene.control.waking("shop");
    wait_for("a few looks", || (server.accepted() > 6).then_some(())).await;
    assert!(!asked.is_finished());
    well.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(asked.await.unwrap().starts_with("HTTP/1.1 200"));
}

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

#[tokio::test]
async fn it_is_ready_once_it_has_a_plan_and_counts_what_it_does() {
    let server = free_port();
    let scene = Scene::start(vec![http_target("shop", HOST, server)]).await;
    let _server = Server::start(server, mirror).await;
    scene.control.awake("shop");
    scene.control.settled().await;
    assert!(ask(scene.http.port(), &get("/", "")).await.starts_with("HTTP/1.1 200"));
    let admin = scene.admin.port();
    assert!(ask(admin, "GET /readyz HTTP/1.1\r\nHost: x").await.starts_with("HTTP/1.1 200"));
    let metrics = ask(admin, "GET /metrics HTTP/1.1\r\nHost: x").await;
    for line in [
        "lw_tcp_proxy_connections_total 1",
        "lw_tcp_proxy_http_requests_total{status=\"2xx\"} 1",
        "lw_tcp_proxy_parked 0",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn a_target_that_does_not_answer_is_told_honestly() {
    let server = free_port();
    let scene = Scene::start(vec![http_target("shop", HOST, server)]).await;
    let breaks = Server::start(server, |mut stream: TcpStream| async move {
        stream.read_u8().await.ok();
    })
    .await;
    scene.control.awake("shop");
    scene.control.settled().await;
    let answer = ask(scene.http.port(), &get("/", "")).await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("broke off"), "{answer}");
    drop(breaks);
    let answer = soon("an answer", ask(scene.http.port(), &get("/", ""))).await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("does not accept"), "{answer}");
}

#[tokio::test]
async fn a_stop_lets_requests_end_and_closes_what_is_at_rest() {
    let server = free_port();
    let scene = Scene::start(vec![http_target("shop", HOST, server)]).await;
    let (go, wait) = tokio::sync::watch::channel(false);
    let service = Server::start(server, move |mut stream: TcpStream| {
        let mut wait = wait.clone();
        async move {
            let mut buffer = [0; 1024];
            assert!(stream.read(&mut buffer).await.is_ok_and(|read| read > 0));
            wait.wait_for(|go| *go).await.ok();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate").await.ok();
        }
    })
    .await;
    scene.control.awake("shop");
    scene.control.settled().await;
    let port = scene.http.port();
    let resting = connect(port).await;
    let asked = tokio::spawn(async move { ask(port, &get("/", "")).await });
    wait_for("the request", || (service.accepted() > 0).then_some(())).await;
    scene.drain.ask();
    wait_for("the port to be closed", || std::net::TcpStream::connect(local(port)).err()).await;
    go.send(true).unwrap();
    assert_eq!(soon("the stop", scene.stop()).await, 0);
    assert!(asked.await.unwrap().ends_with("late"));
    drop(resting);
}
