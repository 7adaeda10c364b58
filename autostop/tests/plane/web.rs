//! HTTP: pages, holding, forwarding.

use std::sync::Arc;

use autostop::wire::{Action, HealthCheck, HttpRoute, Match, Phase};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    peers::{Server, ask, mirror},
    scene::{Scene, connect, free_port, http_target, local, soon, wait_for},
};

pub(crate) const HOST: &str = "shop.example.com";

pub(crate) fn get(path: &str, more: &str) -> String {
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
    // Nor do they by asking how it is.
    let status = |path: &str| format!("/.well-known/wayside/autostop/status?path={path}");
    for head in [get(&status("/healthz"), ""), get(&status("/"), "\r\nUser-Agent: kube-probe/1.31")] {
        let answer = ask(port, &head).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"ready\":false"), "{answer}");
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
