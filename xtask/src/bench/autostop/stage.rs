//! Both daemons before machines that are started by a script and open their ports when the measurement wants.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Command, Stdio},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
    runtime::Runtime,
};

use super::crowd::{Entrance, Kind, host};
use crate::{
    bench::{free_address, shipped},
    child::Child,
    http,
    stop::Stop,
};

pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Where ports are looked for, below those that the system gives away by itself.
const PORTS: std::ops::Range<u16> = 10_000..30_000;

pub(super) struct Stage {
    // They go before the folder, to which they write.
    plane: Child,
    control: Child,
    folder: TempDir,
    kind: Kind,
    http: SocketAddr,
    admin: SocketAddr,
    /// The first port of TCP, and the first of the machines.
    first: u16,
    targets: u16,
}

impl Stage {
    /// So many rules, each with a machine that is down.
    pub(super) fn start(rules: u16, kind: Kind, stop: &Stop) -> Result<Self> {
        let folder = tempfile::tempdir().context("make a folder")?;
        let path = folder.path().display();
        fs::create_dir(folder.path().join("rules.d"))?;
        let (first, targets) = (free_ports(PORTS.start, rules)?, free_ports(PORTS.start + rules, rules)?);
        let [links, status, http, admin] =
            [free_address()?, free_address()?, free_address()?, free_address()?];
        let config = format!(
            "proxyPort = {}\nusageTrackingPort = {}\nadminAddr = \"{admin}\"\nrulesDir = \"{path}/rules.d\"\nstateDir = \"{path}/state\"\n\
             httpListen = [\"{http}\"]\nhttpsListen = []\ntcpPorts = \"{first}-{}\"\n\
             [providers.here]\nkind = \"command\"\naddress = \"127.0.0.1\"\ncalls_per_minute = 0\n\
             start = [\"sh\", \"-c\", \"echo >> {path}/start-$0\", \"{{id}}\"]\nstop = [\"true\"]\n\
             status = [\"sh\", \"-c\", \"if [ -e {path}/start-$0 ]; then echo running; else echo stopped; fi\", \"{{id}}\"]\n",
            status.port(),
            links.port(),
            first + rules - 1,
        );
        fs::write(folder.path().join("config.toml"), config)?;
        for number in 0..rules {
            let port = targets + number;
            let rule = format!(
                "name = \"m{number}\"\nprovider = \"here\"\nfilter.vm_ids = [\"{number}\"]\ncustom_domains = [\"{}\"]\n\
                 [hold]\nmax_clients = 30000\n[[http.routing]]\nsource_port = 80\ntarget_port = {port}\n\
                 [[tcp.forward_rule]]\nport = {port}\nconnect_on = {}\n",
                host(number),
                first + number
            );
            fs::write(folder.path().join(format!("rules.d/{number}.toml")), rule)?;
        }
        let start = |name: &'static str| {
            let mut program = Command::new(shipped::binary(name)?);
            program.arg("--config").arg(folder.path().join("config.toml")).stdout(Stdio::null());
            Child::spawn(name, &mut program, None)
        };
        let (mut control, mut plane) = (start("lw_proxy")?, start("lw_tcp_proxy")?);
        let down = format!("lw_proxy_rules{{state=\"down\"}} {rules}\n");
        stop.wait_for("all machines to be known as down", PATIENCE, || {
            control.check_alive()?;
            plane.check_alive()?;
            let open = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, first + rules - 1))).is_err();
            Ok(open && http::get(status, "/metrics").is_ok_and(|(_, text)| text.contains(&down)))
        })?;
        Ok(Self { plane, control, folder, kind, http, admin, first, targets })
    }

    pub(super) fn control(&self) -> u32 {
        self.control.id()
    }

    pub(super) fn plane(&self) -> u32 {
        self.plane.id()
    }

    pub(super) fn entrance(&self, number: u16) -> Entrance {
        let addr = match self.kind {
            Kind::Tcp => SocketAddr::from((Ipv4Addr::LOCALHOST, self.first + number)),
            Kind::Http => self.http,
        };
        Entrance { addr, number }
    }

    pub(super) fn target(&self, number: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.targets + number))
    }

    /// How many are held.
    pub(super) fn parked(&self) -> Result<u64> {
        let (_, text) = http::get(self.admin, "/metrics")?;
        let told = text.lines().find_map(|line| line.strip_prefix("lw_tcp_proxy_parked "));
        told.and_then(|told| told.trim().parse().ok()).context("find how many are held")
    }

    /// How often a machine was started.
    pub(super) fn starts(&self, number: u16) -> Result<usize> {
        let file = self.folder.path().join(format!("start-{number}"));
        Ok(fs::read_to_string(file).context("read how often it was started")?.lines().count())
    }
}

/// A machine whose port is open.
pub(super) struct Machine {
    opened: Instant,
    heard: Arc<OnceLock<Instant>>,
    runtime: Option<Runtime>,
}

impl Machine {
    pub(super) fn open(addr: SocketAddr, kind: Kind) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let heard = Arc::new(OnceLock::new());
        let listener = {
            let _inside = runtime.enter();
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind(addr)?;
            socket.listen(4096)?
        };
        let opened = Instant::now();
        let (first, each) = (Arc::clone(&heard), runtime.handle().clone());
        runtime.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let first = Arc::clone(&first);
                each.spawn(async move {
                    let mut some = [0; 1024];
                    // A look whether the port is open says nothing.
                    while let Ok(1..) = stream.read(&mut some).await {
                        first.get_or_init(Instant::now);
                        if stream.write_all(kind.answer()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Ok(Self { opened, heard, runtime: Some(runtime) })
    }

    /// How long it took from the opening of the port to the first byte of a client.
    pub(super) fn heard_after(&self) -> Result<Duration> {
        let heard = self.heard.get().context("nobody said anything to a machine")?;
        Ok(heard.saturating_duration_since(self.opened))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The first of so many ports in a row that nobody listens on.
fn free_ports(from: u16, count: u16) -> Result<u16> {
    let free = |port: u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
    let mut first = from;
    while first < PORTS.end - count {
        match (first..first + count).rev().find(|port| !free(*port)) {
            Some(taken) => first = taken + 1,
            None => return Ok(first),
        }
    }
    anyhow::bail!("no {count} ports in a row are free")
}
