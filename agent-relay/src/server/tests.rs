//! The whole relay over loopback: web proxies, TLS, failover, quotas and age.

mod refused;

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use rcgen::generate_simple_self_signed;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use super::*;
use crate::{
    envelope::{Envelope, encode},
    queue::{Quota, Refusal},
    relay::Plan,
    route::{Routes, Rule},
    upstream::{self, Base, Proxies, Spec, Upstream, WebProxy},
};

type Seen = Arc<Mutex<Vec<String>>>;

/// Answers every request with this status, and writes down its first line and its proxy credentials.
async fn talk(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, seen: Seen, status: u16) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut first, mut length, mut told) = (String::new(), 0, String::new());
        if !matches!(stream.read_line(&mut first).await, Ok(1..)) {
            return;
        }
        loop {
            let mut line = String::new();
            if !matches!(stream.read_line(&mut line).await, Ok(3..)) {
                break;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if lower.starts_with("proxy-authorization:") {
                line.trim().clone_into(&mut told);
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        seen.lock().unwrap().push(format!("{} {told}", first.trim()).trim().to_owned());
        let answer = format!("HTTP/1.1 {status} Told\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

async fn backend(drain: &Drain, status: u16) -> (Base, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Seen::default();
    let (own, until) = (Arc::clone(&seen), drain.clone());
    drain.spawn_own(async move {
        while let Ok((stream, _)) = listener.accept().await {
            until.spawn_own(talk(stream, Arc::clone(&own), status));
        }
    });
    (Base { tls: false, host: "127.0.0.1".to_owned(), port, path: String::new() }, seen)
}

/// A web proxy: forwards nothing by itself but CONNECT, to this port; answers 407 without credentials.
async fn web_proxy(drain: &Drain, to: u16) -> (u16, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Seen::default();
    let (own, until) = (Arc::clone(&seen), drain.clone());
    drain.spawn_own(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let own = Arc::clone(&own);
            until.spawn_own(async move {
                let mut first = [0; 7];
                stream.peek(&mut first).await.unwrap();
                if first != *b"CONNECT" {
                    return talk(stream, own, 202).await;
                }
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                own.lock().unwrap().push(head.clone());
                if !head.contains("Proxy-Authorization: Basic bWU6c2VjcmV0\r\n") {
                    return stream
                        .write_all(b"HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n")
                        .await
                        .unwrap();
                }
                stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.unwrap();
                let mut target = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                copy_bidirectional(&mut stream, &mut target).await.ok();
            });
        }
    });
    (port, seen)
}

struct Wish {
    upstreams: Vec<Base>,
    trust: Trust,
    proxy: Option<WebProxy>,
    quota: Quota,
    max_age: Duration,
    patience: Duration,
}

impl Wish {
    fn of(upstreams: Vec<Base>) -> Self {
        let quota = Quota { bytes: 1 << 30, agent_bytes: 1 << 30, dead_bytes: 1 << 30 };
        Self {
            upstreams,
            trust: Trust::System,
            proxy: None,
            quota,
            max_age: Duration::from_secs(3600),
            patience: Duration::from_secs(5),
        }
    }
}

fn relay(folder: &Path, wish: Wish, drain: &Drain) -> Arc<Relay> {
    let queue = Queue::open(folder, wish.quota).unwrap();
    let proxies = Proxies { http: wish.proxy.clone(), https: wish.proxy };
    let dialer = upstream::dialer(&wish.trust, proxies, &Names::new(Vec::new())).unwrap();
    let spec =
        |base: &Base| Spec { name: base.authority(), base: base.clone(), weight: 1, health: None, key: None };
    let upstreams: Vec<_> = wish
        .upstreams
        .iter()
        .map(|base| Arc::new(Upstream::new(spec(base), Arc::clone(&dialer), drain.clone())))
        .collect();
    let plan = Plan {
        routes: Routes::new(Vec::<Rule>::new(), (0..upstreams.len()).collect()),
        upstreams,
        patience: wish.patience,
        max_age: wish.max_age,
    };
    let relay = Arc::new(Relay::new(queue, Arc::new(Keys::open(folder).unwrap()), Arc::default(), plan));
    for _ in 0..4 {
        drain.spawn(Arc::clone(&relay).run(drain.clone()));
    }
    relay
}

async fn keep(relay: &Relay, agent: &str, body: &'static [u8]) -> Result<(), Refusal> {
    keep_at(relay, agent, "/intake/", body).await
}

async fn keep_at(relay: &Relay, agent: &str, path: &str, body: &'static [u8]) -> Result<(), Refusal> {
    let envelope = Envelope { method: "POST".to_owned(), path: path.to_owned(), ..Envelope::default() };
    relay
        .queue
        .keep(format!("{agent} - -"), encode(&envelope).into(), Bytes::from_static(body).into(), None)
        .await
}

/// Waits until `is_so`; looks again whenever the runtime has nothing better to do.
async fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "waited for {what}");
        // Sleeps: between two looks at the condition.
        time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn only_what_was_sent_counts_as_sent() {
    let (folder, drain) = (tempfile::tempdir().unwrap(), Drain::default());
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let base = |port| Base { tls: false, host: "127.0.0.1".to_owned(), port, path: String::new() };
    let relay = relay(folder.path(), Wish::of(vec![base(gone)]), &drain);
    keep(&relay, "a", b"seven b").await.unwrap();
    let counts = |relay: &Relay| {
        let counts = &relay.plan().upstreams[0].counts;
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::SeqCst);
        (load(&counts.connect_errors), load(&counts.bytes_out))
    };
    wait_for("a refused connection", || counts(&relay).0 > 0).await;
    assert_eq!(counts(&relay).1, 0);
    let listener = TcpListener::bind(("127.0.0.1", gone)).await.unwrap();
    drain.spawn_own(async move {
        let (stream, _) = listener.accept().await.unwrap();
        talk(stream, Seen::default(), 202).await;
    });
    wait_for("the delivery", || relay.queue.balance().delivered == 1).await;
    assert_eq!(counts(&relay).1, 7);
}

fn proxy(port: u16, credentials: &str) -> Option<WebProxy> {
    let credentials = Some(credentials.into());
    Some(WebProxy { host: "127.0.0.1".to_owned(), port, credentials, except: Vec::new() })
}

#[tokio::test]
async fn http_goes_through_a_web_proxy_in_absolute_form() {
    let (folder, drain) = (tempfile::tempdir().unwrap(), Drain::default());
    let (port, seen) = web_proxy(&drain, 0).await;
    let base = Base::parse("http://backend.example:8080/stsAgent").unwrap();
    let wish = Wish { proxy: proxy(port, "me:secret"), ..Wish::of(vec![base]) };
    let relay = relay(folder.path(), wish, &drain);
    keep(&relay, "a", b"x").await.unwrap();
    wait_for("the delivery", || relay.queue.balance().delivered == 1).await;
    let told = seen.lock().unwrap().clone();
    let line = "POST http://backend.example:8080/stsAgent/intake/ HTTP/1.1";
    assert_eq!(told, [format!("{line} proxy-authorization: Basic bWU6c2VjcmV0")]);
}

#[tokio::test]
async fn https_goes_through_a_tunnel_and_is_checked_against_its_own_authority() {
    let (folder, drain) = (tempfile::tempdir().unwrap(), Drain::default());
    let made = generate_simple_self_signed(vec!["backend.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap().port();
    let seen = Seen::default();
    let (own, until) = (Arc::clone(&seen), drain.clone());
    drain.spawn_own(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (own, acceptor) = (Arc::clone(&own), acceptor.clone());
            until.spawn_own(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    talk(stream, own, 200).await;
                }
            });
        }
    });
    let (port, tunnels) = web_proxy(&drain, to).await;
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let base = Base::parse("https://backend.example").unwrap();
    for (name, trust, credentials, arrives) in [
        ("system", Trust::System, "me:secret", false),
        ("password", Trust::File(ca.clone()), "me:wrong", false),
        ("own", Trust::File(ca), "me:secret", true),
        ("any", Trust::Anybody, "me:secret", true),
    ] {
        let wish = Wish { trust, proxy: proxy(port, credentials), ..Wish::of(vec![base.clone()]) };
        let relay = relay(&folder.path().join(name), wish, &drain);
        keep(&relay, "a", b"x").await.unwrap();
        let refused = || relay.plan().upstreams[0].breaker().is_open();
        wait_for(name, || if arrives { relay.queue.balance().delivered == 1 } else { refused() }).await;
        assert_eq!(relay.queue.balance().queued, u64::from(!arrives), "{name}");
    }
    assert_eq!(seen.lock().unwrap().as_slice(), ["POST /intake/ HTTP/1.1"; 2]);
    assert!(tunnels.lock().unwrap()[0].starts_with("CONNECT backend.example:443 HTTP/1.1\r\n"));
}

#[tokio::test]
async fn an_upstream_that_fails_is_left_for_the_other_one() {
    let (folder, drain) = (tempfile::tempdir().unwrap(), Drain::default());
    let (broken, tried) = backend(&drain, 503).await;
    let (well, seen) = backend(&drain, 202).await;
    let nobody = Base { port: 1, ..well.clone() };
    let relay = relay(folder.path(), Wish::of(vec![broken, nobody, well]), &drain);
    for _ in 0..30 {
        keep(&relay, "a", b"x").await.unwrap();
    }
    wait_for("the deliveries", || relay.queue.balance().delivered == 30).await;
    assert_eq!(seen.lock().unwrap().len(), 30);
    assert!(relay.plan().upstreams[0].breaker().is_open() && relay.plan().upstreams[1].breaker().is_open());
    assert!(tried.lock().unwrap().len() < 10, "given up, but for a probe now and then");
}

#[tokio::test]
async fn one_agent_that_floods_is_refused_and_the_others_are_not() {
    let (folder, drain) = (tempfile::tempdir().unwrap(), Drain::default());
    let (base, _) = backend(&drain, 503).await;
    let quota = Quota { bytes: 8_000, agent_bytes: 2_000, dead_bytes: 1 << 30 };
    let relay = relay(folder.path(), Wish { quota, ..Wish::of(vec![base]) }, &drain);
    let mut kept = 0;
    while keep(&relay, "flood", &[b'x'; 500]).await.is_ok() {
        kept += 1;
    }
    assert_eq!(keep(&relay, "flood", &[b'x'; 500]).await, Err(Refusal::AgentFull));
    assert_eq!(keep(&relay, "calm", b"y").await, Ok(()));
    for agent in ["b", "c", "d", "e", "f"] {
        while keep(&relay, agent, &[b'x'; 500]).await.is_ok() {}
    }
    assert_eq!(keep(&relay, "new", &[b'x'; 500]).await, Err(Refusal::QueueFull));
    assert!((2..=4).contains(&kept), "{kept}");
    let balance = relay.queue.balance();
    assert_eq!(balance.accepted, balance.queued);
}

#[tokio::test]
async fn what_grew_too_old_is_put_aside_and_can_be_forgotten() {
    let (folder, drain) = (tempfile::tempdir().unwrap(), Drain::default());
    let (base, seen) = backend(&drain, 202).await;
    let old = relay(folder.path(), Wish { max_age: Duration::ZERO, ..Wish::of(vec![base.clone()]) }, &drain);
    let envelope = Envelope { method: "POST".to_owned(), path: "/x".to_owned(), ..Envelope::default() };
    old.queue
        .keep("a - -".to_owned(), encode(&envelope).into(), Bytes::from("x").into(), None)
        .await
        .unwrap();
    wait_for("an end", || old.queue.balance().queued == 0).await;
    let balance = old.queue.balance();
    assert_eq!((balance.accepted, balance.delivered, balance.dead_lettered), (1, 0, 1));
    for letter in old.queue.dead_letters().unwrap() {
        assert_eq!(letter.reason, "older than queue_max_age");
        assert!(old.queue.remove_dead(&letter.id).unwrap());
        assert!(!old.queue.remove_dead(&letter.id).unwrap());
    }
    assert_eq!(old.queue.balance(), balance, "who forgets a dead letter does not change what it was");
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_dead_letter_whose_mark_a_crash_forgot_is_none_once_it_is_delivered() {
    let (folder, drain) = (tempfile::tempdir().unwrap(), Drain::default());
    let (base, seen) = backend(&drain, 202).await;
    let quota = Wish::of(Vec::new()).quota;
    let crashed = Queue::open(folder.path(), quota).unwrap();
    let envelope = Envelope { method: "POST".to_owned(), path: "/x".to_owned(), ..Envelope::default() };
    crashed.keep("a - -".to_owned(), encode(&envelope).into(), Bytes::from("x").into(), None).await.unwrap();
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("queue")).unwrap();
    for entry in std::fs::read_dir(folder.path().join("queue")).unwrap().flatten() {
        std::fs::copy(entry.path(), copy.path().join("queue").join(entry.file_name())).unwrap();
    }
    let agent = crashed.take().await;
    let stored = crashed.first(agent).unwrap().unwrap();
    crashed.bury(agent, &stored, "refused").unwrap();
    std::fs::create_dir(copy.path().join("dead")).unwrap();
    for entry in std::fs::read_dir(folder.path().join("dead")).unwrap().flatten() {
        std::fs::copy(entry.path(), copy.path().join("dead").join(entry.file_name())).unwrap();
    }
    let relay = relay(copy.path(), Wish::of(vec![base]), &drain);
    assert_eq!(relay.queue.dead_letters().unwrap().len(), 1);
    wait_for("the delivery", || relay.queue.balance().delivered == 1).await;
    assert_eq!(seen.lock().unwrap().len(), 1);
    assert!(relay.queue.dead_letters().unwrap().is_empty());
}
