//! lw_proxy and lw_tcp_proxy, and a machine that they put to sleep: a service here, started and stopped by scripts.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    daemon::{Daemon, binary},
    http, peer,
    wait::wait_for,
};

/// What the API asks for.
pub const TOKEN: &str = "sat.only-for-tests";

const API: &str = "/gateway/lw/api/accounts/my-team/autostopping";

/// A machine of scripts and files, with a service that must not be reached while it is down. What is done to
/// it against the laws is written down.
pub struct Machine {
    folder: TempDir,
    /// Where its service listens.
    pub address: SocketAddr,
}

impl Machine {
    /// A machine that is down; its service says `hello`, and then back what it hears.
    ///
    /// # Panics
    /// When its files cannot be written.
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().to_owned();
        fs::create_dir(path.join("open")).expect("a folder");
        script(&path, "start", "echo start >> calls\n[ -f up ] && echo started twice >> crimes\ntouch up");
        let stop = "echo stop >> calls\n[ -n \"$(ls open)\" ] && echo stopped under a connection >> crimes\nrm -f up";
        script(&path, "stop", stop);
        script(&path, "status", "if [ -f up ]; then echo running; else echo stopped; fi");
        let home = path.clone();
        let address = peer::serve(move |stream| serve(&home, stream));
        Self { folder, address }
    }

    /// Where its scripts and files are.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Whether it is up.
    pub fn is_up(&self) -> bool {
        self.path().join("up").exists()
    }

    /// How often this was called.
    pub fn calls(&self, verb: &str) -> usize {
        let calls = fs::read_to_string(self.path().join("calls")).unwrap_or_default();
        calls.lines().filter(|call| *call == verb).count()
    }

    /// Waits until it is down.
    ///
    /// # Panics
    /// When it stays up.
    pub fn wait_until_down(&self) {
        wait_for("the machine to be stopped", || (!self.is_up()).then_some(()));
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let crimes = fs::read_to_string(self.path().join("crimes")).unwrap_or_default();
        assert!(crimes.is_empty() || std::thread::panicking(), "done to the machine: {crimes}");
    }
}

fn serve(home: &Path, mut stream: TcpStream) {
    let Ok(peer) = stream.peer_addr() else { return };
    let open = home.join("open").join(peer.port().to_string());
    fs::write(&open, "").ok();
    if !home.join("up").exists() {
        fs::write(home.join("crimes"), "reached while it was down").ok();
    }
    let mut buffer = vec![0; 1 << 16];
    stream.write_all(b"hello").ok();
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    fs::remove_file(open).ok();
}

/// The first of so many ports that nobody else has, below those that the system gives to who asks for any. Nobody
/// in this process is told the same twice: between the look and the use they are free to everybody.
fn free_ports(count: usize) -> u16 {
    static TOLD: AtomicUsize = AtomicUsize::new(0);
    let begin = usize::try_from(std::process::id().wrapping_mul(41) % 9_900).expect("it fits") + 10_000;
    let free = |first: usize| {
        (first..first + count).all(|port| {
            let port = u16::try_from(port).expect("it fits");
            TcpListener::bind(("::", port)).is_ok()
        })
    };
    let mut firsts = std::iter::repeat_with(|| begin + TOLD.fetch_add(count, Ordering::SeqCst));
    let first = firsts.find(|first| free(*first)).expect("there are free ports");
    u16::try_from(first).expect("it fits")
}

/// Something that is put to sleep: what stands in its provider's table, and in its rule behind the name.
pub struct Target {
    /// What its provider calls it.
    pub id: String,
    /// TOML.
    pub provider: String,
    /// TOML.
    pub rule: String,
}

/// A provider of the scripts `start`, `stop` and `status` in this folder, for something on loopback.
pub fn by_scripts(folder: &Path) -> String {
    let script = |name: &str| format!("[\"{}\"]", folder.join(name).display());
    let (start, stop, status) = (script("start"), script("stop"), script("status"));
    format!(
        "kind = \"command\"\naddress = \"127.0.0.1\"\nstart = {start}\nstop = {stop}\nstatus = {status}\n"
    )
}

/// Writes a script into this folder, which it runs in.
///
/// # Panics
/// When it cannot be written.
pub fn script(folder: &Path, name: &str, text: &str) {
    let file = folder.join(name);
    fs::write(&file, format!("#!/bin/sh\ncd {}\n{text}\n", folder.display())).expect("a script");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("executable");
}

/// Both daemons before some machines; either can be killed and started again.
pub struct Autostop {
    /// lw_proxy, while it runs.
    pub control: Option<Daemon>,
    /// lw_tcp_proxy, while it runs.
    pub plane: Option<Daemon>,
    status_port: u16,
    usage_port: u16,
    targets: usize,
    /// Goes last: until they are gone, they write to it.
    folder: TempDir,
}

impl Autostop {
    /// Starts both with one rule per machine, named `m0`, `m1`, …; `more` goes into every rule.
    ///
    /// # Panics
    /// When they do not come up.
    pub fn start(machines: &[&Machine], more: &str) -> Self {
        let targets = machines.iter().map(|machine| Target {
            id: "m".to_owned(),
            provider: by_scripts(machine.path()),
            rule: format!("{more}\n[[tcp.forward_rule]]\nport = {}\n", machine.address.port()),
        });
        Self::before(&targets.collect::<Vec<_>>())
    }

    /// Starts both with one rule per target, named `m0`, `m1`, ….
    ///
    /// # Panics
    /// When they do not come up.
    pub fn before(targets: &[Target]) -> Self {
        let mut autostop = Self::prepared("", targets);
        for (number, Target { id, rule, .. }) in targets.iter().enumerate() {
            let rule =
                format!("name = \"m{number}\"\nprovider = \"p{number}\"\nfilter.vm_ids = [\"{id}\"]\n{rule}");
            fs::write(autostop.path().join(format!("rules.d/m{number}.toml")), rule).expect("a rule");
        }
        autostop.start_control();
        autostop.start_plane();
        autostop
    }

    /// Starts lw_proxy alone, without rules.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn control_alone() -> Self {
        let mut autostop = Self::prepared("accessPointID = \"ap-1\"\n", &[]);
        autostop.start_control();
        autostop
    }

    /// Starts lw_proxy, which has its rules from the one at this port and is called so there; these are its
    /// providers.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn follower(port: u16, name: &str, targets: &[Target]) -> Self {
        let url = format!("http://127.0.0.1:{port}/gateway/lw/api");
        let more = format!("accessPointID = \"{name}\"\napiURL = \"{url}\"\n");
        let mut autostop = Self::prepared(&more, targets);
        autostop.start_control();
        autostop
    }

    /// With everything but rules in its files.
    fn prepared(more: &str, targets: &[Target]) -> Self {
        let folder = TempDir::new().expect("a folder");
        fs::create_dir(folder.path().join("rules.d")).expect("a folder");
        let mut config = format!("accountID = \"my-team\"\nauthToken = \"{TOKEN}\"\n{more}");
        config += &format!("rulesDir = \"{0}/rules.d\"\nstateDir = \"{0}/state\"\n", folder.path().display());
        let ports = targets.len().max(1);
        let first = free_ports(ports);
        config += &format!("tcpPorts = \"{first}-{}\"\n", usize::from(first) + ports - 1);
        for (number, Target { provider, .. }) in targets.iter().enumerate() {
            config += &format!("[providers.p{number}]\n{provider}");
        }
        fs::write(folder.path().join("config.toml"), config).expect("a configuration");
        Self { folder, control: None, plane: None, status_port: 0, usage_port: 0, targets: targets.len() }
    }

    /// Where both keep their files.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn config(&self) -> PathBuf {
        self.path().join("config.toml")
    }

    /// Starts lw_proxy where it was.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_control(&mut self) {
        let mut command = Command::new(binary("lw_proxy"));
        command.env_clear().arg("--config").arg(self.config());
        command.env("PROXY_PORT", self.status_port.to_string());
        command.env("USAGE_TRACKING_PORT", self.usage_port.to_string());
        let mut daemon = Daemon::watch("lw_proxy", command);
        daemon.announce("data plane is away");
        self.status_port = daemon.port("Starting status listener", "addr");
        self.usage_port = daemon.port("Starting usage tracking listener", "addr");
        self.control = Some(daemon);
    }

    /// Starts lw_tcp_proxy where it was, and waits until it has heard of lw_proxy.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_plane(&mut self) {
        self.start_plane_alone();
        let plane = self.plane.as_ref().expect("it was just started");
        plane.wait_for_line("Successfully connected to control plane");
        let ports = || plane.lines().iter().filter(|line| line.contains("\"intake\":\"tcp\"")).count();
        wait_for("the ports of all targets", || (ports() >= self.targets).then_some(()));
    }

    /// Starts lw_tcp_proxy where it was, whether lw_proxy is there or not.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_plane_alone(&mut self) {
        let mut command = Command::new(binary("lw_tcp_proxy"));
        command.env_clear().arg("--config").arg(self.config());
        command.env("USAGE_TRACKING_PORT", self.usage_port.to_string());
        command
            .env("HTTP_LISTEN", "127.0.0.1:0")
            .env("HTTPS_LISTEN", "127.0.0.1:0")
            .env("ADMIN_ADDR", "127.0.0.1:0");
        let mut daemon = Daemon::watch("lw_tcp_proxy", command);
        daemon.announce("control plane");
        self.plane = Some(daemon);
    }

    /// Ends lw_proxy as a power switch would.
    ///
    /// # Panics
    /// When it is not running.
    pub fn kill_control(&mut self) {
        self.control.take().expect("it runs").kill();
    }

    /// Ends lw_tcp_proxy as a power switch would.
    ///
    /// # Panics
    /// When it is not running.
    pub fn kill_plane(&mut self) {
        self.plane.take().expect("it runs").kill();
    }

    /// Where lw_proxy shows its status.
    pub fn status_port(&self) -> u16 {
        self.status_port
    }

    /// Asks the API for something, and returns the status with what was answered.
    ///
    /// # Panics
    /// When it does not answer with JSON.
    pub fn api(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("http://127.0.0.1:{}{API}{path}", self.status_port);
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = ureq::http::Request::builder().method(method).uri(url);
        let request = request.header("Authorization", format!("Bearer {TOKEN}"));
        let request = request.header("Content-Type", "application/json").body(body).expect("a request");
        let mut answer = agent.run(request).expect("an answer");
        let text = answer.body_mut().read_to_string().expect("text");
        (answer.status().as_u16(), serde_json::from_str(&text).expect("JSON"))
    }

    /// What the API says of a rule.
    ///
    /// # Panics
    /// When it does not answer with JSON.
    pub fn rule(&self, name: &str) -> Value {
        let path = format!("{API}/rules/{name}");
        let text = http::get_with_token(self.status_port, &path, TOKEN);
        let told: Value = serde_json::from_str(&text).expect("JSON");
        told["response"].clone()
    }

    /// Where HTTP is taken.
    ///
    /// # Panics
    /// When lw_tcp_proxy does not run.
    pub fn http_port(&self) -> u16 {
        self.plane.as_ref().expect("it runs").port("\"intake\":\"http\"", "addr")
    }

    /// The port that leads to a rule's machine.
    ///
    /// # Panics
    /// When it has none.
    pub fn port(&self, name: &str) -> u16 {
        let told = &self.rule(name)["connect"][0][1];
        told.as_u64().and_then(|port| port.try_into().ok()).expect("a port")
    }

    /// Waits until a rule is in this state.
    ///
    /// # Panics
    /// When it does not become so.
    pub fn wait_for_state(&self, name: &str, state: &str) {
        wait_for(format!("{name} to be {state}"), || (self.rule(name)["state"] == state).then_some(()));
    }
}
