//! Everything that is told of a running relay, in one place.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use common::drain::Drain;
use tokio::time;

use super::outage::Window;
use crate::{
    intake::Taken,
    queue::{Quota, now_ms},
    relay::Relay,
    tcp::{front::Front, pool::Admin},
    upstream::Upstream,
};

/// What the upstreams are together called, where HAProxy names a backend.
pub(super) const UPSTREAMS: &str = "upstreams";
/// How often it is noted how much came.
const NOTE: Duration = Duration::from_secs(10);

/// See the module.
pub(crate) struct Board {
    pub(crate) relay: Arc<Relay>,
    pub(crate) taken: Arc<Taken>,
    pub(crate) fronts: Vec<Arc<Front>>,
    /// Where the queue is, on whose file system.
    pub(crate) folder: PathBuf,
    pub(crate) quota: Mutex<Quota>,
    pub(crate) most_connections: usize,
    started: Instant,
    came: Mutex<Window>,
}

/// How long an outage may last, and why no longer.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(super) struct Outage {
    /// Bytes that may come before agents are refused.
    pub(super) room_bytes: u64,
    /// `queue_max_bytes` or `disk`.
    pub(super) bound: &'static str,
    /// `None` until it is known.
    pub(super) bytes_per_second: Option<f64>,
    /// `None` for ever, or not known.
    pub(super) seconds: Option<u64>,
}

impl Board {
    pub(crate) fn new(
        relay: Arc<Relay>,
        taken: Arc<Taken>,
        fronts: Vec<Arc<Front>>,
        folder: PathBuf,
        quota: Quota,
        most_connections: usize,
    ) -> Self {
        let (quota, started, came) = (Mutex::new(quota), Instant::now(), Mutex::default());
        Self { relay, taken, fronts, folder, quota, most_connections, started, came }
    }

    /// Other quotas from now on.
    pub(crate) fn limit(&self, quota: Quota) {
        *self.quota.lock().unwrap_or_else(PoisonError::into_inner) = quota;
    }

    pub(super) fn quota(&self) -> Quota {
        *self.quota.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long it runs.
    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Notes now and then how much came, until the drain starts.
    pub(crate) async fn watch(self: Arc<Self>, drain: Drain) {
        loop {
            let bytes = self.taken.bytes_in.load(Ordering::Relaxed);
            self.came.lock().unwrap_or_else(PoisonError::into_inner).note(self.uptime(), bytes);
            tokio::select! {
                () = drain.started() => return,
                () = time::sleep(NOTE) => {}
            }
        }
    }

    pub(super) fn outage(&self) -> Outage {
        let quota = self.quota().bytes.saturating_sub(self.relay.queue.queued_bytes());
        let disk = rustix::fs::statvfs(&self.folder).map_or(u64::MAX, |disk| disk.f_bavail * disk.f_frsize);
        let (room_bytes, bound) = if quota <= disk { (quota, "queue_max_bytes") } else { (disk, "disk") };
        let came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = came.budget(room_bytes).map(|budget| budget.as_secs());
        Outage { room_bytes, bound, bytes_per_second: came.rate(), seconds }
    }

    /// Does with a server, or an upstream, what an operator wants; false when there is none of that name.
    pub(super) fn administer(&self, backend: &str, server: &str, admin: Admin) -> bool {
        if backend == UPSTREAMS {
            let plan = self.relay.plan();
            let found = plan.upstreams.iter().find(|upstream| upstream.spec.name == server);
            found.map(|upstream| upstream.administer(admin)).is_some_and(|()| {
                self.relay.queue.wake();
                true
            })
        } else {
            let mut backs = self.fronts.iter().map(|front| front.back());
            backs.any(|back| back.spec.backend == backend && back.administer(server, admin))
        }
    }

    /// Whether there is a backend of this name.
    pub(super) fn has_backend(&self, backend: &str) -> bool {
        backend == UPSTREAMS || self.fronts.iter().any(|front| front.back().spec.backend == backend)
    }
}

/// The word for how an upstream is.
pub(super) fn status(upstream: &Upstream) -> &'static str {
    match (upstream.admin(), upstream.breaker().is_open()) {
        (Admin::Maint, _) => "MAINT",
        (Admin::Drain, _) => "DRAIN",
        (Admin::Ready, true) => "DOWN",
        (Admin::Ready, false) => "UP",
    }
}

/// Seconds since a moment in milliseconds since 1970; since the start when it never was.
pub(super) fn since(moment_ms: u64, uptime: Duration) -> u64 {
    if moment_ms == 0 { uptime.as_secs() } else { now_ms().saturating_sub(moment_ms) / 1000 }
}
