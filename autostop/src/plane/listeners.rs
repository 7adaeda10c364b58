//! Listeners come and go with the plan, on every worker; one that cannot be had is told and tried again.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    mem,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use common::{daemon, listen, quiet::Quiet};
use tokio::{net::TcpStream, select, time};
use tokio_util::sync::CancellationToken;

use super::{Plane, Settings, http, plan::Plan, route::Entrance, tcp, worker::Workers};
use crate::wire::listening::Port;

/// After an accept that failed, descriptors have to become free before another can succeed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// How often a port that could not be bound is tried.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// What comes in at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Intake {
    Tcp,
    Http { tls: bool, is_standard: bool },
}

type Key = (SocketAddr, Intake);

/// By which its socket is kept.
fn name((address, intake): Key) -> String {
    format!("{} {address}", intake.name())
}

impl Intake {
    /// For people.
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http { tls: false, .. } => "http",
            Self::Http { tls: true, .. } => "https",
        }
    }
}

/// Listens where the plan wants it, for as long as it is polled.
pub(super) async fn run(settings: &Settings, plane: Arc<Plane>, workers: &Workers) -> Infallible {
    let mut planned = plane.planned.subscribe();
    let mut open: BTreeMap<Key, CancellationToken> = BTreeMap::new();
    let mut is_first = true;
    loop {
        if plane.drain.is_started() {
            // Nobody is taken any more: what waits at a socket is for whoever listens there still.
            plane.sockets().clear();
            std::future::pending::<()>().await;
        }
        let plan = plane.plan();
        let wanted = wanted(settings, &plan);
        open.retain(|key, closing| {
            let stays = wanted.contains(key);
            if !stays {
                tracing::info!(addr = %key.0, "listener closed: it is not in the plan any more");
                listen::give_up(key.0);
                closing.cancel();
                plane.sockets().remove(&name(*key));
            }
            stays
        });
        let mut failures = BTreeMap::new();
        for key in wanted {
            if open.contains_key(&key) {
                continue;
            }
            match start(key, &plane, workers) {
                Ok(closing) => drop(open.insert(key, closing)),
                Err(error) => drop(failures.insert(key, error)),
            }
        }
        plane.listening.send_replace((plan.revision, report(&plan, &open, &failures)));
        if mem::take(&mut is_first) {
            daemon::ready();
        }
        select! {
            changed = planned.changed() => if changed.is_err() { std::future::pending().await },
            () = time::sleep(TRY_AGAIN), if !failures.is_empty() => {}
            () = plane.drain.started() => {}
        }
    }
}

fn wanted(settings: &Settings, plan: &Plan) -> BTreeSet<Key> {
    let own = |list: &[SocketAddr], tls| {
        let intake = Intake::Http { tls, is_standard: true };
        list.iter().map(|address| (*address, intake)).collect::<Vec<_>>()
    };
    let mut wanted: BTreeSet<Key> =
        own(&settings.http, false).into_iter().chain(own(&settings.https, true)).collect();
    for (port, tls) in plan.routes.ports() {
        let list = if tls { &settings.https } else { &settings.http };
        let is_served = !list.is_empty() && port == if tls { 443 } else { 80 };
        if !is_served && !list.iter().any(|address| address.port() == port) {
            let intake = Intake::Http { tls, is_standard: false };
            wanted.insert((SocketAddr::new(settings.tcp, port), intake));
        }
    }
    wanted.extend(plan.ports.keys().map(|port| (SocketAddr::new(settings.tcp, *port), Intake::Tcp)));
    wanted
}

fn report(
    plan: &Plan,
    open: &BTreeMap<Key, CancellationToken>,
    failures: &BTreeMap<Key, String>,
) -> Vec<Port> {
    let serves = |port: u16, tls: Option<bool>| {
        move |key: &Key| match (key.1, tls) {
            (Intake::Tcp, None) => key.0.port() == port,
            (Intake::Http { tls: over, is_standard }, Some(tls)) => {
                over == tls && (key.0.port() == port || (is_standard && port == if tls { 443 } else { 80 }))
            }
            _ => false,
        }
    };
    let tcp = plan.ports.keys().map(|port| (*port, None));
    let http = plan.routes.ports().into_iter().map(|(port, tls)| (port, Some(tls)));
    let told = tcp.chain(http).map(|(port, tls)| {
        let fits = serves(port, tls);
        let failure = failures.iter().find(|(key, _)| fits(key)).map(|(_, error)| error.clone());
        let error = if open.keys().any(&fits) { None } else { failure.or(Some("not listening".to_owned())) };
        Port { port: port.into(), error: error.unwrap_or_default() }
    });
    let mut told: Vec<_> = told.collect();
    told.sort_by_key(|told| told.port);
    told
}

fn start(key: Key, plane: &Arc<Plane>, workers: &Workers) -> Result<CancellationToken, String> {
    let (address, intake) = key;
    let failed = |error: &dyn std::fmt::Display| {
        static QUIET: Quiet = Quiet::new(Duration::from_secs(30));
        if let Some(suppressed) = QUIET.speak(Instant::now()) {
            tracing::warn!(addr = %address, %error, suppressed, "could not bind; it is tried again");
        }
        error.to_string()
    };
    let listener = listen::bind(address).map_err(|error| failed(&error.source))?;
    let address = listener.local_addr().map_err(|error| failed(&error))?;
    // All of them before any of them accepts: what was begun would hold the port against the next try.
    let mut each = Vec::new();
    for worker in workers.iter() {
        let _inside = worker.enter();
        let listener = listener.try_clone().and_then(tokio::net::TcpListener::from_std);
        each.push((worker, listener.map_err(|error| failed(&error))?));
    }
    plane.sockets().insert(name(key), listener);
    let closing = CancellationToken::new();
    for (worker, listener) in each {
        let _inside = worker.enter();
        let (plane, closing) = (Arc::clone(plane), closing.clone());
        let drain = plane.drain.clone();
        let pool = Arc::clone(&worker.pool);
        let serve: Serve = match intake {
            Intake::Tcp => {
                let plane = Arc::clone(&plane);
                Box::new(move |client, peer| tcp::start(client, peer, address.port(), &plane))
            }
            Intake::Http { tls, is_standard } => {
                let entrance = Entrance { tls, port: address.port(), is_standard };
                let plane = Arc::clone(&plane);
                Box::new(move |client, peer| http::start(client, peer, entrance, &plane, &pool))
            }
        };
        drain.spawn_own(async move { accept(listener, serve, &plane, &closing).await });
    }
    tracing::info!(network = "tcp", addr = %address, intake = intake.name(), "Starting proxy listener");
    Ok(closing)
}

type Serve = Box<dyn Fn(TcpStream, SocketAddr) + Send + Sync>;

async fn accept(listener: tokio::net::TcpListener, serve: Serve, plane: &Plane, closing: &CancellationToken) {
    loop {
        let accepted = select! {
            biased;
            accepted = listener.accept() => accepted,
            () = closing.cancelled() => return,
            () = plane.drain.started() => return,
        };
        match accepted {
            Ok((client, peer)) => serve(client, SocketAddr::new(peer.ip().to_canonical(), peer.port())),
            Err(error) => {
                plane.metrics.accept_failures.inc();
                static QUIET: Quiet = Quiet::new(Duration::from_secs(5));
                if let Some(suppressed) = QUIET.speak(Instant::now()) {
                    tracing::warn!(%error, suppressed, "accept failed; clients wait until it works again");
                }
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
