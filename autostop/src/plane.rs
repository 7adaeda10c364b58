//! The data plane: carries connections and requests to targets that may be asleep, and holds those that
//! have to wait.

pub mod activity;
pub mod config;
pub mod dial;
pub mod gate;
pub mod http;
mod link;
mod listeners;
pub mod metrics;
mod park;
pub mod pattern;
pub mod plan;
mod probe;
pub mod proxied;
pub mod route;
mod tcp;
mod tell;
pub mod tls;
pub mod transaction;
mod upstream;
pub mod visitor;
mod worker;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use anyhow::Context as _;
use common::{
    admin::{self, Readiness},
    daemon::VERSION,
    drain::Drain,
    listen, notify,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{Notify, watch};
use tokio_rustls::rustls::ServerConfig;

use self::{
    gate::{Counts, Gate, Phase, State},
    metrics::Metrics,
    plan::Plan,
    tls::Certificates,
    worker::Workers,
};
use crate::wire;

/// What the data plane has to be told before the control plane tells it the rest.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the control plane is, as `host:port`.
    pub control: String,
    /// Who this plane is; the same over restarts.
    pub plane_id: String,
    /// Where HTTP comes in, whatever its number for port 80.
    pub http: Vec<SocketAddr>,
    /// Where HTTPS comes in, whatever its number for port 443.
    pub https: Vec<SocketAddr>,
    /// The address that ports of the plan are listened on.
    pub tcp: IpAddr,
    /// Where /livez, /readyz and /metrics answer.
    pub admin: SocketAddr,
    /// How long a client of HTTP that has ended its half is believed to wait, without a byte.
    pub left_after: Duration,
    /// Threads that carry.
    pub workers: usize,
}

/// What all connections share.
pub(crate) struct Plane {
    plan: RwLock<Arc<Plan>>,
    /// Grows when the plan changes.
    planned: watch::Sender<u64>,
    /// The revision of the plan that is listened for, and how that went.
    listening: watch::Sender<(u64, Vec<wire::listening::Port>)>,
    gates: Mutex<HashMap<String, Arc<Gate>>>,
    bell: Arc<Notify>,
    certificates: Arc<Certificates>,
    tls: Arc<ServerConfig>,
    metrics: Metrics,
    left_after: Duration,
    drain: Drain,
}

impl Plane {
    fn new(drain: Drain, left_after: Duration) -> anyhow::Result<Self> {
        let certificates = Arc::new(Certificates::default());
        let tls = tls::server(Arc::clone(&certificates)).context("prepare TLS")?;
        Ok(Self {
            plan: RwLock::default(),
            planned: watch::Sender::new(0),
            listening: watch::Sender::default(),
            gates: Mutex::default(),
            bell: Arc::new(Notify::new()),
            certificates,
            tls,
            metrics: Metrics::default(),
            left_after,
            drain,
        })
    }

    /// The newest plan.
    pub(crate) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn gates(&self) -> MutexGuard<'_, HashMap<String, Arc<Gate>>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gate(&self, rule_id: &str) -> Arc<Gate> {
        let new = || Arc::new(Gate::new(rule_id, Arc::clone(&self.bell)));
        Arc::clone(self.gates().entry(rule_id.to_owned()).or_insert_with(new))
    }

    /// The gates of all targets of the plan.
    fn gates_planned(&self) -> Vec<Arc<Gate>> {
        self.plan().targets.values().map(|target| Arc::clone(&target.gate)).collect()
    }

    /// A plan replaces the one before it. What is not in it any more is drained.
    fn take_plan(&self, plan: wire::Plan) {
        self.certificates.take(&plan.certificates);
        let (plan, problems) = Plan::read(plan, |rule_id| self.gate(rule_id));
        for problem in problems {
            tracing::warn!(problem, "a part of the plan is left out");
        }
        tracing::info!(revision = plan.revision, targets = plan.targets.len(), "plan");
        let plan = Arc::new(plan);
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&plan);
        self.gates().retain(|rule_id, gate| {
            let is_planned = plan.targets.contains_key(rule_id);
            gate.set_removed(!is_planned);
            is_planned || gate.counts() != Counts::default()
        });
        self.planned.send_modify(|change| *change += 1);
    }

    /// A state of a target; what was open at that moment is returned for a fence.
    fn take_state(&self, told: wire::TargetState) -> (Phase, Counts, Arc<Gate>) {
        let gate = self.gate(&told.rule_id);
        let state = State::from(told);
        let phase = state.phase;
        let counts = gate.set(state);
        (phase, counts, gate)
    }
}

/// Carries until the drain is over.
///
/// # Errors
/// When the admin port cannot be listened on, or a thread cannot be had.
pub async fn serve(settings: Settings, drain: Drain) -> anyhow::Result<()> {
    tracing::info!(version = VERSION, plane = settings.plane_id, "START Wayside data plane");
    raise_descriptor_limit();
    let plane = Arc::new(Plane::new(drain.clone(), settings.left_after)?);
    let readiness = Readiness::default();
    readiness.wait_for(link::PLAN);
    serve_admin(settings.admin, readiness.clone(), &plane, &drain)?;
    let workers = Workers::start(settings.workers, &drain)?;
    let linked = link::run(&settings, &plane, &readiness);
    let listening = listeners::run(&settings, Arc::clone(&plane), &workers);
    notify::tell(notify::READY);
    tokio::select! {
        ended = workers.finished(&drain) => ended,
        never = async { tokio::join!(linked, listening) } => match never.0 {},
    }
}

fn serve_admin(
    at: SocketAddr,
    readiness: Readiness,
    plane: &Arc<Plane>,
    drain: &Drain,
) -> anyhow::Result<()> {
    let listener = listen::bind(at).context("serve /readyz and /metrics")?;
    tracing::info!(addr = %listener.local_addr()?, "Starting health listener");
    let registry = Arc::new(metrics::registry(plane));
    let router = admin::health(readiness, drain.clone()).merge(admin::metrics(registry));
    let until = drain.clone();
    drain.spawn(async move {
        if let Err(error) = admin::serve(listener, router, until).await {
            tracing::error!(%error, "health and metrics are no longer served");
        }
    });
    Ok(())
}

/// Each connection takes two descriptors: take as many as the system lets a process have.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) }
    });
    if let Err(error) = raised {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}
