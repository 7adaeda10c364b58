//! Opens the queue, binds everything, says so, and relays until the stop.

mod plan;

use std::{
    fs::DirBuilder,
    io,
    net::{SocketAddr, TcpListener},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    sync::{Arc, RwLock},
    time::Duration,
};

use anyhow::Context as _;
use common::{
    admin,
    config::Error,
    daemon::{self, VERSION},
    descriptors::room_for_connections,
    drain::Drain,
    handover::Successor,
    listen,
    trust::Trust,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Semaphore,
    time,
};

use crate::{
    config::Config,
    fleet::Fleet,
    intake::{Intake, Taken},
    keys::Keys,
    queue::Queue,
    relay::Relay,
    stats::{self, board::Board},
    tcp::front::Front,
    upstream::{KEPT, Names},
};

/// Deliveries at a time: more than one upstream takes at most, so that one that is slow leaves some to others.
const DELIVERIES: usize = KEPT * 2;
/// How long what is open may take when another binary takes over.
const GRACE: Duration = Duration::from_secs(8);

/// Reads the configuration once more.
pub type Reread = Box<dyn Fn() -> Result<Config, Error> + Send>;

/// What runs.
struct Running {
    intake: Arc<Intake>,
    board: Arc<Board>,
    names: Arc<Names>,
    /// Everything that listens, to be handed over.
    listeners: Vec<TcpListener>,
}

/// Runs the relay until the drain is over. SIGHUP has the configuration read again, SIGUSR2 has the binary take over
/// that is now where this one was.
///
/// # Errors
/// When the queue cannot be opened or a port cannot be listened on.
pub async fn serve(config: Config, reread: Reread, drain: Drain) -> anyhow::Result<()> {
    tracing::info!(version = VERSION, "START Wayside Agent Relay");
    let successor = Successor::new().context("find this binary")?;
    make_private(&config.data_dir).context("make the data folder; DATA_DIR changes where")?;
    let lock = lock(&config)?;
    // What runs has a drain of its own: when another binary takes over, the daemon does not stop.
    let own = drain.part();
    let running = start(&config, &own)?;
    daemon::ready();
    let is_upgrade = watch(&running, config, &reread, &successor, &own).await?;
    own.ask();
    running.board.relay.plan().upstreams.iter().for_each(|upstream| upstream.let_go());
    if is_upgrade {
        tokio::select! {
            () = own.idle() => {}
            () = time::sleep(GRACE) => own.insist(),
        }
    }
    own.idle().await;
    running.board.relay.queue.settle().await;
    if is_upgrade && !drain.is_started() {
        drop(lock);
        return Err(successor.take_place(&running.listeners)).context("hand over to the new binary");
    }
    Ok(())
}

fn start(config: &Config, drain: &Drain) -> anyhow::Result<Running> {
    warn_of_risks(config);
    let mut listeners = Vec::new();
    let mut bind = |address: SocketAddr| -> anyhow::Result<TcpListener> {
        let listener = listen::bind(address)?;
        listeners.push(listener.try_clone()?);
        Ok(listener)
    };
    let queue = Queue::open(&config.data_dir, plan::quota(config)).context("open the queue")?;
    let balance = queue.balance();
    tracing::info!(queued = balance.queued, bytes = queue.queued_bytes(), "the queue is open");
    let keys = Arc::new(Keys::open(&config.data_dir).context("read the salt of the key tags")?);
    let fleet = Arc::new(Fleet::default());
    let names = Names::new(config.dns_servers.clone());
    let relay = Arc::new(Relay::new(Arc::clone(&queue), keys, fleet, plan::plan(config, &names, drain)?));
    let taken: Arc<Taken> = Arc::default();
    let stats = bind(config.stats).context("serve the stats; STATS_ADDR changes where")?;
    tracing::info!(addr = %stats.local_addr()?, "Starting stats listener");
    let most_connections = room_for_connections(2).min(Semaphore::MAX_PERMITS);
    let memory = usize::try_from(config.memory_bytes >> 10).unwrap_or(usize::MAX);
    let intake = Arc::new(Intake {
        queue,
        relay: Arc::clone(&relay),
        terms: RwLock::new(Arc::new(plan::terms(config)?)),
        memory: Semaphore::new(memory.min(Semaphore::MAX_PERMITS)),
        room: Arc::new(Semaphore::new(most_connections)),
        taken: Arc::clone(&taken),
    });
    for address in &config.listen {
        let listener = bind(*address).context("listen for agents; LISTEN_PORT changes where")?;
        tracing::info!(addr = %listener.local_addr()?, "Starting agent listener");
        drain.spawn(Arc::clone(&intake).accept(listener, drain.clone()));
    }
    for _ in 0..DELIVERIES {
        drain.spawn(Arc::clone(&relay).run(drain.clone()));
    }
    drain.spawn(Arc::clone(&relay).check(drain.clone()));
    let mut fronts = Vec::new();
    for spec in &config.tcp {
        let listener = bind(spec.listen).context("listen in TCP mode; see listen of [[tcp]]")?;
        tracing::info!(name = spec.name, addr = %listener.local_addr()?, "Starting TCP listener");
        let front = Arc::new(Front::new(spec.clone(), Arc::clone(&names)));
        drain.spawn(Arc::clone(&front).accept(listener, drain.clone()));
        drain.spawn(Arc::clone(&front).check(drain.clone()));
        fronts.push(front);
    }
    let board = Arc::new(Board::new(
        Arc::clone(&relay),
        taken,
        fronts,
        config.data_dir.clone(),
        plan::quota(config),
        most_connections,
    ));
    serve_stats(stats, stats::router(&board, config.stats_token.clone(), drain.clone()), drain);
    drain.spawn(Arc::clone(&board).watch(drain.clone()));
    if let Some(path) = &config.stats_socket {
        let socket = stats::socket::bind(path).with_context(|| format!("listen on {}", path.display()))?;
        drain.spawn(stats::socket::serve(Arc::clone(&board), socket, drain.clone()));
    }
    Ok(Running { intake, board, names, listeners })
}

/// Waits for what ends it, and returns whether another binary is to take over.
async fn watch(
    running: &Running,
    mut config: Config,
    reread: &Reread,
    successor: &Successor,
    drain: &Drain,
) -> io::Result<bool> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut upgrade = signal(SignalKind::user_defined2())?;
    loop {
        tokio::select! {
            () = drain.started() => return Ok(false),
            _ = hangup.recv() => match reread() {
                Ok(other) => match adopt(running, &other, drain) {
                    Ok(()) => {
                        tell_fixed(&config, &other);
                        config = other;
                        tracing::info!("the configuration was read again");
                    }
                    Err(error) => tracing::error!("the configuration stays as it was: {error:#}"),
                },
                Err(error) => {
                    tracing::error!("the configuration stays as it was: {:#}", anyhow::Error::from(error));
                }
            },
            _ = upgrade.recv() => match successor.check() {
                Ok(()) => {
                    tracing::info!("another binary takes over");
                    return Ok(true);
                }
                Err(error) => tracing::error!("no other binary takes over: {error:#}"),
            },
        }
    }
}

/// Everything at once, or nothing.
fn adopt(running: &Running, config: &Config, drain: &Drain) -> anyhow::Result<()> {
    let (plan, terms) = (plan::plan(config, &running.names, drain)?, plan::terms(config)?);
    warn_of_risks(config);
    running.names.follow(config.dns_servers.clone());
    running.board.relay.follow(plan);
    running.intake.follow(terms);
    running.board.relay.queue.limit(plan::quota(config));
    running.board.limit(plan::quota(config));
    for front in &running.board.fronts {
        let own = front.back().spec.listen;
        if let Some(spec) = config.tcp.iter().find(|spec| spec.listen == own) {
            front.follow(spec.clone());
        }
    }
    Ok(())
}

/// What is taken up only by a start.
fn tell_fixed(before: &Config, after: &Config) {
    let places = |config: &Config| config.tcp.iter().map(|spec| spec.listen).collect::<Vec<_>>();
    let most = |config: &Config| config.tcp.iter().map(|spec| spec.most_connections).collect::<Vec<_>>();
    let fixed = [
        ("listen of [[tcp]]", places(before) == places(after)),
        ("max_connections of [[tcp]]", most(before) == most(after)),
        ("listen_port", before.listen == after.listen),
        ("stats_addr", before.stats == after.stats),
        ("stats_token", before.stats_token == after.stats_token),
        ("stats_socket", before.stats_socket == after.stats_socket),
        ("data_dir", before.data_dir == after.data_dir),
        ("memory_max_bytes", before.memory_bytes == after.memory_bytes),
    ];
    let changed: Vec<_> = fixed.iter().filter(|(_, same)| !same).map(|(key, _)| *key).collect();
    if !changed.is_empty() {
        let keys = changed.join(" ");
        tracing::warn!(keys, "these settings are taken up by a restart only");
    }
}

fn warn_of_risks(config: &Config) {
    if matches!(config.trust, Trust::Anybody) {
        tracing::warn!("skip_ssl_validation is on: whoever stands in between can read and change everything");
    }
}

/// Makes a folder that nobody else reads.
fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn serve_stats(listener: TcpListener, router: admin::Router, drain: &Drain) {
    let until = drain.clone();
    drain.spawn(async move {
        if let Err(error) = admin::serve(listener, router, until).await {
            tracing::error!(%error, "the stats are no longer served");
        }
    });
}

/// Keeps every other process out of the data folder.
fn lock(config: &Config) -> anyhow::Result<std::fs::File> {
    let path = config.data_dir.join("lock");
    let file = std::fs::File::options().create(true).append(true).open(&path).context("open the lock")?;
    file.try_lock().with_context(|| format!("{} is in use by another process", config.data_dir.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests;
