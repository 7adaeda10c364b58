//! A plane between a scripted control plane and the test's own clients and servers.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use autostop::{
    plane::{self, Settings},
    wire::{HttpRoute, Phase, Preset, Target, TcpPort},
};
use common::drain::Drain;
use tokio::{net::TcpStream, task::JoinHandle, time};

use crate::control::{Control, Serving};

pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `look` finds something.
pub async fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        // Sleeps: between two looks at the condition.
        time::sleep(Duration::from_millis(5)).await;
    }
}

/// A port that nobody listens on, below those that the system gives away by itself.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        // Tests that run at once are processes with neighboring numbers: each begins well apart.
        let base = u16::try_from(std::process::id().wrapping_mul(41) % 12_000).unwrap();
        let port = 20_000 + (base + step) % 12_000;
        if std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
}

pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

pub struct Scene {
    pub control: Control,
    pub serving: Option<Serving>,
    pub drain: Drain,
    pub http: SocketAddr,
    pub https: SocketAddr,
    pub admin: SocketAddr,
    pub served: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Scene {
    /// Starts with these targets, all asleep.
    pub async fn start(targets: Vec<Target>) -> Self {
        let rules: Vec<_> = targets.iter().map(|target| target.rule_id.clone()).collect();
        let control = Control::new(targets);
        for rule in rules {
            control.phase(&rule, Phase::Asleep);
        }
        let serving = control.serve(local(0)).await;
        let (http, https, admin) = (local(free_port()), local(free_port()), local(free_port()));
        let settings = Settings {
            control: serving.address.to_string(),
            plane_id: "plane-1".to_owned(),
            state_dir: None,
            http: vec![http],
            https: vec![https],
            tcp: Ipv4Addr::LOCALHOST.into(),
            admin,
            left_after: Duration::from_millis(500),
            workers: 2,
        };
        let drain = Drain::default();
        let served = Some(tokio::spawn(plane::serve(settings, drain.clone())));
        control.listening(1).await;
        Self { control, serving: Some(serving), drain, http, https, admin, served }
    }

    /// Stops, and says what was cut.
    pub async fn stop(mut self) -> u64 {
        self.drain.ask();
        let served = self.served.take().unwrap();
        served.await.unwrap().unwrap();
        self.drain.cut()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.drain.insist();
    }
}

/// A target with one TCP port.
pub fn tcp_target(rule_id: &str, target_port: u16, preset: Preset) -> (Target, u16) {
    let port = free_port();
    let tcp = TcpPort {
        port: port.into(),
        target_port: target_port.into(),
        preset: preset.into(),
        proxy_protocol_in: false,
    };
    (Target { tcp: vec![tcp], ..target(rule_id) }, port)
}

/// A target for one host.
pub fn http_target(rule_id: &str, host: &str, target_port: u16) -> Target {
    let route = |protocol: &str, port| HttpRoute {
        source_protocol: protocol.to_owned(),
        source_port: port,
        target_protocol: "http".to_owned(),
        target_port: target_port.into(),
        ..HttpRoute::default()
    };
    let http = vec![route("http", 80), route("https", 443)];
    Target { domains: vec![host.to_owned()], http, ..target(rule_id) }
}

fn target(rule_id: &str) -> Target {
    Target {
        rule_id: rule_id.to_owned(),
        name: rule_id.to_owned(),
        hold_ms: 60_000,
        hold_clients: 10_000,
        hold_bytes: 64 << 10,
        wake_grace_ms: 300,
        ..Target::default()
    }
}

impl Control {
    /// The target is awake at loopback.
    pub fn awake(&self, rule_id: &str) {
        self.state(rule_id, Phase::Awake, |state| state.addresses = vec!["127.0.0.1".to_owned()]);
    }

    /// The target begins to wake at loopback.
    pub fn waking(&self, rule_id: &str) {
        self.state(rule_id, Phase::Waking, |state| {
            state.addresses = vec!["127.0.0.1".to_owned()];
            state.expected_ms = 20_000;
            state.elapsed_ms = 0;
        });
    }
}

pub async fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(local(port)).await.unwrap();
    // It may be reset already.
    stream.set_nodelay(true).ok();
    stream
}

/// Does not take longer than anything may.
pub async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}
