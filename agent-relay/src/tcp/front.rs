//! Accepts connections in TCP mode, finds each a server, and carries its bytes.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use common::{
    drain::Drain,
    exchange, listen,
    relay::{Side, Tap, relay_held},
};
use jiff::Timestamp;
use tokio::{net::TcpStream, sync::Semaphore, time};

use super::{
    Spec,
    line::{self, End, Line},
    pool::{Admin, Member, next},
    proxied,
};
use crate::upstream::Names;

/// How long one waits before the same server is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What is counted, of a front or of a server.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) connections: AtomicU64,
    pub(crate) open: AtomicU64,
    pub(crate) most_open: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) connect_errors: AtomicU64,
    pub(crate) response_errors: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) redispatches: AtomicU64,
    /// A check is on its way.
    pub(super) is_checked: AtomicBool,
    pub(crate) checks_failed: AtomicU64,
    pub(crate) downs: AtomicU64,
    /// Milliseconds since 1970 when it last went down or came back.
    pub(crate) changed_ms: AtomicU64,
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// A connection that is open, until it is dropped.
struct Open<'a>(&'a Counts);

impl<'a> Open<'a> {
    fn new(counts: &'a Counts) -> Self {
        add(&counts.connections, 1);
        let open = counts.open.fetch_add(1, Ordering::Relaxed) + 1;
        counts.most_open.fetch_max(open, Ordering::Relaxed);
        Self(counts)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The servers behind a front, and how they are. Another one takes its place when the configuration changes.
pub(crate) struct Back {
    pub(crate) spec: Spec,
    pub(crate) counts: Vec<Counts>,
    members: Mutex<Vec<Member>>,
}

impl Back {
    pub(crate) fn new(spec: Spec) -> Self {
        let members = spec.servers.iter().map(|server| Member::new(server.weight)).collect();
        let counts = spec.servers.iter().map(|_| Counts::default()).collect();
        Self { spec, counts, members: Mutex::new(members) }
    }

    pub(crate) fn members(&self) -> MutexGuard<'_, Vec<Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does with a server what an operator wants; false when it is not there.
    pub(crate) fn administer(&self, server: &str, admin: Admin) -> bool {
        let at = self.spec.servers.iter().position(|known| known.name == server);
        let mut members = self.members();
        let member = at.and_then(|at| members.get_mut(at));
        member.map(|member| member.admin = admin).is_some()
    }
}

/// One listener in TCP mode.
pub(crate) struct Front {
    pub(crate) counts: Counts,
    back: RwLock<Arc<Back>>,
    pub(super) names: Arc<Names>,
    room: Arc<Semaphore>,
}

impl Front {
    pub(crate) fn new(spec: Spec, names: Arc<Names>) -> Self {
        let room = Arc::new(Semaphore::new(spec.most_connections.min(Semaphore::MAX_PERMITS)));
        Self { counts: Counts::default(), back: RwLock::new(Arc::new(Back::new(spec))), names, room }
    }

    /// The servers as they are now.
    pub(crate) fn back(&self) -> Arc<Back> {
        Arc::clone(&self.back.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Other servers from now on; what is open stays with its own. Nothing happens when they are the same.
    pub(crate) fn follow(&self, spec: Spec) {
        let mut back = self.back.write().unwrap_or_else(PoisonError::into_inner);
        if back.spec != spec {
            *back = Arc::new(Back::new(spec));
        }
    }

    /// Accepts until the drain starts.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener, drain: Drain) {
        let taken = listen::accept(listener, &self.room, &drain, |stream, peer, place| {
            let (own, until) = (Arc::clone(&self), drain.clone());
            drain.spawn_own(Box::pin(async move {
                own.serve(stream, peer, until).await;
                drop(place);
            }));
        });
        if let Err(error) = taken.await {
            tracing::error!(%error, "connections in TCP mode cannot be accepted");
            drain.ask();
        }
    }

    async fn serve(&self, mut client: TcpStream, peer: SocketAddr, drain: Drain) {
        let back = self.back();
        let spec = &back.spec;
        let _open = Open::new(&self.counts);
        let (begun, accepted) = (Instant::now(), Timestamp::now());
        let mut told = Line {
            client: peer,
            accepted,
            front: &spec.name,
            back: &spec.backend,
            server: None,
            connect: None,
            total: Duration::ZERO,
            bytes: 0,
            end: End::Proxy,
            open: 0,
            server_open: 0,
            retries: 0,
            is_redispatched: false,
        };
        let mut meter = Meter::default();
        let found = tokio::select! {
            found = self.greet(&mut client, &back, &mut told) => Some(found),
            // Whoever waits for a server that does not come is not to hold up the end.
            () = drain.insisted() => None,
        };
        match found {
            None => {
                drain.count_cut();
                told.end = End::Killed;
            }
            Some(Err(end)) => told.end = end,
            Some(Ok((server, index, held))) => {
                told.connect = Some(begun.elapsed());
                let _open = back.counts.get(index).map(Open::new);
                told.end = carry(client, server, held, &back, index, told.client, &mut meter, &drain).await;
                told.server_open = back.counts.get(index).map_or(0, |c| c.open.load(Ordering::Relaxed));
                if let Some(counts) = back.counts.get(index) {
                    add(&counts.bytes_in, meter.up);
                    add(&counts.bytes_out, meter.down);
                    add(&counts.response_errors, u64::from(told.end == End::Server));
                }
            }
        }
        add(&self.counts.bytes_in, meter.up);
        add(&self.counts.bytes_out, meter.down);
        told.total = begun.elapsed();
        told.bytes = meter.down;
        told.open = self.counts.open.load(Ordering::Relaxed);
        // Who only looks whether somebody listens is not told of.
        if spec.logs && (meter.up > 0 || meter.down > 0 || told.connect.is_none()) {
            tracing::info!("{}", line::line(&told));
        }
    }

    /// Takes off what stands before the client's own words, and finds a server: the connection to it, which it is, and
    /// what the client said already.
    async fn greet<'a>(
        &self,
        client: &mut TcpStream,
        back: &'a Back,
        told: &mut Line<'a>,
    ) -> Result<(TcpStream, usize, Vec<u8>), End> {
        let mut held = Vec::new();
        if back.spec.accepts_proxy {
            let (source, rest) = proxied::take(client).await.map_err(|_| End::Proxy)?;
            told.client = source.unwrap_or(told.client);
            held = rest;
        }
        let (server, index) = self.connect(back, told).await?;
        Ok((server, index, held))
    }

    /// A connection to a server, and which.
    async fn connect<'a>(&self, back: &'a Back, told: &mut Line<'a>) -> Result<(TcpStream, usize), End> {
        let spec = &back.spec;
        let mut index = next(&mut back.members(), None).ok_or(End::NoServer)?;
        let mut end = End::Connect;
        for retry in 0..=spec.retries {
            let (Some(server), Some(counts)) = (spec.servers.get(index), back.counts.get(index)) else {
                return Err(End::NoServer);
            };
            told.server = Some(&server.name);
            told.retries = retry;
            let connecting = self.names.connect(&server.host, server.port);
            let connected = time::timeout(spec.connect_time, connecting).await;
            let failed: io::Error = match connected {
                Ok(Ok(stream)) => return Ok((stream, index)),
                Ok(Err(error)) => {
                    end = End::Connect;
                    error
                }
                Err(_) => {
                    end = End::ConnectTime;
                    io::ErrorKind::TimedOut.into()
                }
            };
            tracing::debug!(server = server.name, error = %failed, "a server cannot be connected to");
            add(&counts.connect_errors, 1);
            if retry == spec.retries {
                break;
            }
            add(&counts.retries, 1);
            let is_last = retry + 1 == spec.retries;
            if is_last && spec.redispatches {
                let other = next(&mut back.members(), Some(index)).unwrap_or(index);
                if other != index {
                    add(&counts.redispatches, 1);
                    told.is_redispatched = true;
                    index = other;
                    continue;
                }
            }
            time::sleep(AGAIN.min(spec.connect_time)).await;
        }
        Err(end)
    }
}

/// Counts what passes.
#[derive(Debug, Default)]
struct Meter {
    up: u64,
    down: u64,
    /// Bytes of our own that the server gets first.
    own: u64,
    moved: Arc<AtomicU64>,
}

impl Tap for Meter {
    fn bytes(&mut self, from: Side, bytes: &[u8]) {
        let count = bytes.len() as u64;
        match from {
            Side::Client => {
                let own = self.own.min(count);
                self.own -= own;
                self.up += count - own;
            }
            Side::Server => self.down += count,
        }
        self.moved.fetch_add(1, Ordering::Relaxed);
    }

    fn half_closed(&mut self, _: Side) {
        self.moved.fetch_add(1, Ordering::Relaxed);
    }

    fn is_idle(&self) -> bool {
        // Nobody knows what stands between two bytes.
        false
    }
}

#[expect(clippy::too_many_arguments, reason = "each is a part of one connection")]
async fn carry(
    client: TcpStream,
    server: TcpStream,
    held: Vec<u8>,
    back: &Back,
    index: usize,
    source: SocketAddr,
    meter: &mut Meter,
    drain: &Drain,
) -> End {
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let mut first = match (back.spec.servers.get(index).and_then(|s| s.send_proxy), client.local_addr()) {
        (Some(version), Ok(own)) => proxied::put(version, source, own),
        _ => Vec::new(),
    };
    meter.own = first.len() as u64;
    first.extend(held);
    let moved = Arc::clone(&meter.moved);
    let idle = async {
        let mut before = moved.load(Ordering::Relaxed);
        loop {
            time::sleep(back.spec.idle_time).await;
            let now = moved.load(Ordering::Relaxed);
            if now == before {
                return;
            }
            before = now;
        }
    };
    tokio::select! {
        end = relay_held(first, client, server, meter, drain) => match end {
            exchange::End::Complete => End::Normal,
            exchange::End::AbortedByClient => End::Client,
            exchange::End::AbortedByServer => End::Server,
            exchange::End::Cut => End::Killed,
        },
        () = idle => End::Idle,
    }
}

#[cfg(test)]
mod tests;
