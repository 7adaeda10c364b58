//! The backend and the contestants before it, each started from its configuration in tests/bench.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::Value;
use tempfile::TempDir;

use super::loads;
use crate::{
    bench::{free_address, load, shipped},
    child::Child,
    command::{self, root},
    http,
    stop::Stop,
    tools::ENVOY,
};

const READY: Duration = Duration::from_secs(20);
const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
/// More than a run captures on purpose, and less than a disk.
const STORE_MAX_BYTES: u64 = 8 << 30;

/// Who carries the requests to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Contestant {
    Direct,
    Haproxy,
    Nginx,
    EnvoyTcp,
    EnvoyHttp,
    HaproxyHttp,
    NginxHttp,
    Goproxy,
    LwTcp,
    LwHttp,
}

impl Contestant {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Direct => "no proxy",
            Self::Haproxy => "HAProxy, tcp",
            Self::Nginx => "nginx, stream",
            Self::EnvoyTcp => "Envoy, tcp_proxy",
            Self::EnvoyHttp => "Envoy, HTTP",
            Self::HaproxyHttp => "HAProxy, HTTP",
            Self::NginxHttp => "nginx, HTTP",
            Self::Goproxy => "goproxy, capturing",
            Self::LwTcp => "lw_tcp_proxy, TCP",
            Self::LwHttp => "lw_tcp_proxy, HTTP",
        }
    }

    /// What of ours it runs.
    pub(super) fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Goproxy => &["goproxy", "forwarder"],
            Self::LwTcp | Self::LwHttp => &["autostop"],
            _ => &[],
        }
    }
}

/// A contestant that is ready.
pub(super) struct Runner {
    pub(super) contestant: Contestant,
    pub(super) addr: SocketAddr,
    pub(super) child: Option<Child>,
}

/// Everyone. Contestants come before the backend, so that they are stopped before it.
pub(super) struct Field {
    pub(super) runners: Vec<Runner>,
    pub(super) forwarder: Option<Forwarder>,
    /// The control planes of the data planes.
    controls: Vec<Child>,
    _backend: Child,
    backend_addr: SocketAddr,
    folder: TempDir,
}

impl Field {
    pub(super) fn start(contestants: &[Contestant], stop: &Stop) -> Result<Self> {
        let folder = tempfile::tempdir().context("make a temporary folder")?;
        loads::make_files(folder.path())?;
        let backend_addr = free_address()?;
        let mut nginx = nginx(folder.path(), "backend.nginx.conf", backend_addr, backend_addr)?;
        let backend = started("nginx, backend", &mut nginx, backend_addr, stop)?;
        let mut field = Self {
            runners: Vec::new(),
            forwarder: None,
            controls: Vec::new(),
            _backend: backend,
            backend_addr,
            folder,
        };
        for contestant in contestants {
            let runner = field.runner(*contestant, stop)?;
            field.runners.push(runner);
        }
        Ok(field)
    }

    /// For what a measurement writes; removed at the end.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn goproxy(&self) -> Option<&Child> {
        let goproxy = self.runners.iter().find(|runner| runner.contestant == Contestant::Goproxy);
        goproxy.and_then(|runner| runner.child.as_ref())
    }

    /// Stops goproxy and its forwarder, and starts a goproxy whose forwarder is not there.
    pub(super) fn goproxy_alone(&mut self, stop: &Stop) -> Result<Runner> {
        self.runners.retain(|runner| runner.contestant != Contestant::Goproxy);
        self.forwarder = None;
        self.goproxy_before(free_address()?, stop)
    }

    fn runner(&mut self, contestant: Contestant, stop: &Stop) -> Result<Runner> {
        let addr = free_address()?;
        let (folder, backend) = (self.folder.path(), self.backend_addr);
        let mut command = match contestant {
            Contestant::Direct => return Ok(Runner { contestant, addr: backend, child: None }),
            Contestant::Haproxy => {
                let mut haproxy = Command::new(program("haproxy")?);
                haproxy.args(["-db", "-q", "-f"]).arg(configured(folder, "haproxy.cfg", addr, backend)?);
                haproxy
            }
            Contestant::Nginx => nginx(folder, "stream.nginx.conf", addr, backend)?,
            Contestant::EnvoyTcp => envoy(&configured(folder, "envoy-tcp.yaml", addr, backend)?)?,
            Contestant::EnvoyHttp => envoy(&configured(folder, "envoy-http.yaml", addr, backend)?)?,
            Contestant::HaproxyHttp => {
                let mut haproxy = Command::new(program("haproxy")?);
                haproxy.args(["-db", "-q", "-f"]).arg(configured(folder, "haproxy-http.cfg", addr, backend)?);
                haproxy
            }
            Contestant::NginxHttp => nginx(folder, "http.nginx.conf", addr, backend)?,
            Contestant::LwTcp | Contestant::LwHttp => return self.data_plane(contestant, addr, stop),
            Contestant::Goproxy => {
                let forwarder = Forwarder::start(folder, stop)?;
                let runner = self.goproxy_before(forwarder.grpc, stop)?;
                self.forwarder = Some(forwarder);
                return Ok(runner);
            }
        };
        let child = started(contestant.title(), &mut command, addr, stop)?;
        Ok(Runner { contestant, addr, child: Some(child) })
    }

    /// lw_tcp_proxy, and an lw_proxy that holds the backend to be a machine that runs.
    fn data_plane(&mut self, contestant: Contestant, addr: SocketAddr, stop: &Stop) -> Result<Runner> {
        let home = self.folder.path().join(format!("{contestant:?}"));
        fs::create_dir_all(home.join("rules.d")).context("make the folder of the rules")?;
        let (links, status, admin, unused) =
            (free_address()?, free_address()?, free_address()?, free_address()?);
        let (http, tcp) = if contestant == Contestant::LwHttp { (addr, unused) } else { (unused, addr) };
        let config = format!(
            "proxyPort = {}\nusageTrackingPort = {}\nadminAddr = \"{admin}\"\nrulesDir = \"{2}/rules.d\"\nstateDir = \"{2}/state\"\n\
             httpListen = [\"{http}\"]\nhttpsListen = []\ntcpPorts = \"{3}-{3}\"\n\
             [providers.here]\nkind = \"command\"\naddress = \"127.0.0.1\"\nstart = [\"true\"]\nstop = [\"true\"]\nstatus = [\"echo\", \"running\"]\n",
            status.port(),
            links.port(),
            home.display(),
            tcp.port(),
        );
        let backend = self.backend_addr.port();
        let way = match contestant {
            Contestant::LwHttp => format!(
                "custom_domains = [\"{}\"]\n[[http.routing]]\nsource_protocol = \"http\"\nsource_port = 80\ntarget_protocol = \"http\"\ntarget_port = {backend}\naction = \"forward\"\n",
                load::HOST
            ),
            _ => format!("[[tcp.forward_rule]]\nport = {backend}\n"),
        };
        let rule = format!("name = \"bench\"\nprovider = \"here\"\nfilter.vm_ids = [\"bench\"]\n{way}");
        fs::write(home.join("config.toml"), config).context("write a configuration")?;
        fs::write(home.join("rules.d/bench.toml"), rule).context("write a rule")?;
        let ours = |name: &str| {
            let mut command = Command::new(shipped::binary(name)?);
            command.arg("--config").arg(home.join("config.toml"));
            anyhow::Ok(command)
        };
        self.controls.push(started("lw_proxy", &mut ours("lw_proxy")?, links, stop)?);
        let mut child = started("lw_tcp_proxy", &mut ours("lw_tcp_proxy")?, addr, stop)?;
        stop.wait_for("the target to be carried to", READY, || {
            child.check_alive()?;
            Ok(http::get_from(load::HOST, addr, "/").is_ok_and(|(status, _)| status == 200))
        })?;
        Ok(Runner { contestant, addr, child: Some(child) })
    }

    fn goproxy_before(&self, forwarder: SocketAddr, stop: &Stop) -> Result<Runner> {
        let addr = free_address()?;
        let mut command = Command::new(shipped::binary("goproxy")?);
        command
            .env("PROXY_TYPE", "reverse")
            .env("PROXY_IN_PORT", addr.port().to_string())
            .env("REVERSE_PROXY_HOST", "127.0.0.1")
            .env("REVERSE_PROXY_PORT", self.backend_addr.port().to_string())
            .env("APP_LABEL", "bench")
            .env("APP_POD_NAME", "bench-1")
            .env("FORWARDER_ADDR", forwarder.to_string())
            .env("HEALTH_ADDR", free_address()?.to_string());
        let child = started("goproxy", &mut command, addr, stop)?;
        Ok(Runner { contestant: Contestant::Goproxy, addr, child: Some(child) })
    }
}

/// A forwarder with its store in the temporary folder.
pub(super) struct Forwarder {
    child: Child,
    grpc: SocketAddr,
    analyzer: SocketAddr,
}

/// How many exchanges were seen and stored so far, over all proxies.
#[derive(Clone, Copy)]
pub(super) struct Accounting {
    seen: u64,
    stored: u64,
}

impl Forwarder {
    fn start(folder: &Path, stop: &Stop) -> Result<Self> {
        let (grpc, analyzer) = (free_address()?, free_address()?);
        let mut command = Command::new(shipped::binary("forwarder")?);
        command
            .env("SERVICE_PORT", grpc.port().to_string())
            .env("ANALYZER_ADDR", analyzer.to_string())
            .env("DATA_DIR", folder.join("store"))
            .env("STORE_MAX_BYTES", STORE_MAX_BYTES.to_string())
            .env("CLUSTER_NAME", "bench");
        let child = started("forwarder", &mut command, analyzer, stop)?;
        Ok(Self { child, grpc, analyzer })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn accounting(&self) -> Result<Accounting> {
        let (_, body) =
            http::get(self.analyzer, "/api/v1/accounting").context("ask the forwarder's accounting")?;
        let json: Value = serde_json::from_str(&body).context("read the forwarder's accounting")?;
        let proxies = json.get("proxies").and_then(Value::as_object).into_iter().flatten();
        let mut sum = Accounting { seen: 0, stored: 0 };
        for (_, proxy) in proxies {
            let count = |key| proxy.get(key).and_then(Value::as_u64).unwrap_or(0);
            sum.seen += count("seen");
            sum.stored += count("stored");
        }
        Ok(sum)
    }
}

impl Accounting {
    /// `None` when nothing was seen since.
    pub(super) fn part_stored_since(self, before: Self) -> Option<f64> {
        let seen = self.seen.saturating_sub(before.seen);
        let stored = self.stored.saturating_sub(before.stored);
        (seen > 0).then(|| stored as f64 / seen as f64)
    }
}

/// Starts it and waits until it accepts connections.
fn started(name: &'static str, command: &mut Command, addr: SocketAddr, stop: &Stop) -> Result<Child> {
    let mut child = Child::spawn(name, command.stdout(Stdio::null()), None)?;
    stop.wait_for(&format!("{name} on {addr}"), READY, || {
        child.check_alive()?;
        Ok(TcpStream::connect(addr).is_ok())
    })?;
    Ok(child)
}

fn nginx(folder: &Path, template: &str, listen: SocketAddr, backend: SocketAddr) -> Result<Command> {
    let mut nginx = Command::new(program("nginx")?);
    nginx.args(["-e", "stderr", "-p"]).arg(folder);
    nginx.arg("-c").arg(configured(folder, template, listen, backend)?);
    Ok(nginx)
}

fn envoy(configuration: &Path) -> Result<Command> {
    let mut envoy = Command::new(ENVOY.path()?);
    envoy.args(["--concurrency", "2", "--disable-hot-restart", "--log-level", "error", "--config-path"]);
    envoy.arg(configuration);
    Ok(envoy)
}

/// The template from tests/bench with its places filled in, written into the folder.
fn configured(folder: &Path, template: &str, listen: SocketAddr, backend: SocketAddr) -> Result<PathBuf> {
    let text = fs::read_to_string(root().join("tests/bench").join(template))
        .with_context(|| format!("read tests/bench/{template}"))?;
    let text = text
        .replace("{{listen}}", &listen.port().to_string())
        .replace("{{backend}}", &backend.port().to_string())
        .replace("{{stream_module}}", STREAM_MODULE)
        .replace("{{data}}", &folder.to_string_lossy());
    let path = folder.join(template);
    fs::write(&path, text).with_context(|| format!("write {template}"))?;
    Ok(path)
}

fn program(name: &str) -> Result<PathBuf> {
    command::find(name).with_context(|| format!("find {name}"))
}
