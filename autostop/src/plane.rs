//! The data plane: carries connections and requests to targets that may be asleep, and holds those that
//! have to wait.

pub mod activity;
pub mod dial;
pub mod gate;
pub mod http;
pub mod identity;
pub mod kept;
mod last;
mod link;
mod listeners;
pub mod metrics;
mod park;
pub mod pattern;
pub mod plan;
mod probe;
pub mod proxied;
pub mod ready;
pub mod route;
mod tcp;
mod tell;
pub mod tls;
pub mod transaction;
mod upgrade;
mod upstream;
pub mod visitor;
mod worker;

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use common::{
    admin::{self, Readiness},
    daemon::VERSION,
    descriptors,
    drain::Drain,
    listen,
};
use tokio::sync::{Notify, watch};
use tokio_rustls::rustls::ServerConfig;

use self::{
    gate::{Counts, Gate, Phase, State},
    last::Drains,
    metrics::Metrics,
    plan::Plan,
    tls::Certificates,
    worker::Workers,
};
use crate::config::Config;
use crate::wire;

/// What the data plane has to be told before the control plane tells it the rest.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the control plane is, as `host:port`.
    pub control: String,
    /// Who this plane is; the same over restarts.
    pub plane_id: String,
    /// Where the last plan is kept, and what else outlives a process, if anything does.
    pub state_dir: Option<PathBuf>,
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

/// Clients that have left are known sooner, by their own systems; this is for systems that vanished too.
const LEFT_AFTER: Duration = Duration::from_secs(300);

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
    /// What this process is to the control plane.
    role: watch::Sender<Role>,
    /// What it was when the control plane told it the plan last.
    heard: watch::Sender<Role>,
    /// Everything that listens, to be handed over.
    sockets: Mutex<BTreeMap<String, TcpListener>>,
    drain: Drain,
}

/// What a process is to the control plane: the plane itself, or one that only carries on what it had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Role {
    /// Its own name then.
    draining: Option<Arc<str>>,
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
            role: watch::Sender::default(),
            heard: watch::Sender::default(),
            sockets: Mutex::default(),
            drain,
        })
    }

    /// The newest plan.
    pub(crate) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn sockets(&self) -> MutexGuard<'_, BTreeMap<String, TcpListener>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Settings {
    fn plan_file(&self) -> Option<PathBuf> {
        self.state_dir.as_ref().map(|folder| folder.join("plan"))
    }

    /// As the configuration says, on all cores.
    ///
    /// # Errors
    /// When who this plane is can neither be read nor kept.
    pub fn of(config: &Config) -> anyhow::Result<Self> {
        let plane_id = identity::kept_id(&config.state_dir).with_context(|| {
            format!("keep the id of this plane in {}; stateDir changes where", config.state_dir.display())
        })?;
        Ok(Self {
            control: config.usage_tracking.to_string(),
            plane_id,
            state_dir: Some(config.state_dir.clone()),
            http: config.http_listen.clone(),
            https: config.https_listen.clone(),
            tcp: Ipv6Addr::UNSPECIFIED.into(),
            admin: config.admin,
            left_after: LEFT_AFTER,
            workers: thread::available_parallelism().map_or(1, usize::from),
        })
    }
}

/// Carries until the drain is over, as the configuration says.
///
/// # Errors
/// As [`Settings::of`] and [`serve`].
pub async fn run(config: Config, drain: Drain) -> anyhow::Result<()> {
    serve(Settings::of(&config)?, drain).await
}

/// Carries until the drain is over. SIGUSR2 has the binary take over that is now where this one was.
///
/// # Errors
/// When the admin port cannot be listened on, or a thread cannot be had.
pub async fn serve(settings: Settings, drain: Drain) -> anyhow::Result<()> {
    tracing::info!(version = VERSION, plane = settings.plane_id, "START Wayside data plane");
    descriptors::raise_limit();
    // What this process takes may stop before the process does, when another one takes in its place.
    let own = drain.part();
    let plane = Arc::new(Plane::new(own.clone(), settings.left_after)?);
    if let Some(plan) = settings.plan_file().as_deref().and_then(kept::load) {
        plane.take_plan(plan);
    }
    let readiness = Readiness::default();
    readiness.wait_for(link::PLAN);
    serve_admin(settings.admin, readiness.clone(), &plane, &own)?;
    let workers = Workers::start(settings.workers, &own)?;
    let drains = settings.state_dir.as_deref().map(|folder| Drains::new(folder, &settings.plane_id));
    let upgrade = upgrade::run(&plane, drains.clone(), &own);
    let linked = link::run(&settings, &plane, &readiness, drains.as_ref());
    let listening = listeners::run(&settings, Arc::clone(&plane), &workers);
    tokio::select! {
        ended = workers.finished(&own) => ended,
        failed = upgrade => failed.map(|never| match never {}),
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
    plane.sockets().insert("admin".to_owned(), listener.try_clone()?);
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
