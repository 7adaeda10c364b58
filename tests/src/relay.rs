//! agent-relay as a process, what it delivers to, and agents that speak to it.

pub mod agents;
pub mod disk;

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    daemon::{Daemon, binary},
    http,
    peer::{connect, listen},
    wait::{PATIENCE, wait_for},
};

/// Where the balance sheet is.
const BALANCE: &str = "/api/v1/balance";

/// A monitoring backend: writes down every body that it took, and answers what it is told to.
#[derive(Clone)]
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    bodies: Arc<Mutex<Vec<String>>>,
    paths: Arc<Mutex<Vec<String>>>,
    status: Arc<AtomicU16>,
    refused: Arc<AtomicU64>,
}

impl Receiver {
    /// Starts one that answers 202.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn start() -> Self {
        Self::of(listen().0)
    }

    /// Starts one on another address of loopback, at the same port as this one.
    ///
    /// # Panics
    /// When that is taken.
    pub fn beside(&self, ip: [u8; 4]) -> Self {
        let address = SocketAddr::from((ip, self.address.port()));
        Self::of(TcpListener::bind(address).expect("the port is free there"))
    }

    fn of(listener: TcpListener) -> Self {
        let receiver = Self {
            address: listener.local_addr().expect("it listens"),
            bodies: Arc::default(),
            paths: Arc::default(),
            status: Arc::new(AtomicU16::new(202)),
            refused: Arc::default(),
        };
        let own = receiver.clone();
        thread::spawn(move || own.accept(&listener));
        receiver
    }

    fn accept(&self, listener: &TcpListener) {
        for stream in listener.incoming().map_while(Result::ok) {
            let own = self.clone();
            thread::spawn(move || own.serve(stream));
        }
    }

    fn serve(&self, stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut writer = stream.try_clone().ok()?;
        let mut reader = BufReader::new(stream);
        loop {
            let mut length = 0;
            let mut first = String::new();
            reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
                if line == "\r\n" {
                    break;
                }
                let line = line.to_ascii_lowercase();
                if let Some(told) = line.strip_prefix("content-length:") {
                    length = told.trim().parse().ok()?;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let status = self.status.load(Ordering::SeqCst);
            if status < 300 {
                self.bodies.lock().ok()?.push(String::from_utf8_lossy(&body).into_owned());
                self.paths.lock().ok()?.push(first.split(' ').nth(1)?.to_owned());
            } else {
                self.refused.fetch_add(1, Ordering::SeqCst);
            }
            write!(writer, "HTTP/1.1 {status} Told\r\nContent-Length: 2\r\n\r\nok").ok()?;
        }
    }

    /// Answers this from now on.
    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// How many requests it did not take.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    /// Every body that it took, in order.
    ///
    /// # Panics
    /// When a thread of it panicked.
    pub fn bodies(&self) -> Vec<String> {
        self.bodies.lock().expect("no panic while locked").clone()
    }

    /// The targets of what it took, in order.
    ///
    /// # Panics
    /// When a thread of it panicked.
    pub fn paths(&self) -> Vec<String> {
        self.paths.lock().expect("no panic while locked").clone()
    }

    /// By agent (the first word of a body), the numbers (the second) in the order in which each came first.
    ///
    /// # Panics
    /// When a body is of another kind.
    pub fn firsts(&self) -> BTreeMap<String, Vec<u64>> {
        let mut firsts: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let mut seen: HashSet<String> = HashSet::new();
        for body in self.bodies() {
            let mut words = body.split(' ');
            let agent = words.next().expect("an agent").to_owned();
            let number: u64 = words.next().and_then(|word| word.parse().ok()).expect("a number");
            if seen.insert(format!("{agent} {number}")) {
                firsts.entry(agent).or_default().push(number);
            }
        }
        firsts
    }
}

/// A running agent-relay.
pub struct Relay {
    /// Its process.
    pub daemon: Option<Daemon>,
    /// Where agents connect.
    pub port: u16,
    /// Where its stats are.
    pub stats: u16,
    folder: PathBuf,
    upstream: Option<String>,
    more: Vec<(String, String)>,
    file: Option<PathBuf>,
}

impl Relay {
    /// Starts it with this data folder towards this upstream, on free ports.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(folder: &Path, upstream: SocketAddr, more: &[(&str, &str)]) -> Self {
        Self::start_with(folder, Some(upstream), more, None)
    }

    /// Starts it with a configuration file, and with an upstream that is not in it.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_with(
        folder: &Path,
        upstream: Option<SocketAddr>,
        more: &[(&str, &str)],
        file: Option<&Path>,
    ) -> Self {
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let upstream = upstream.map(|upstream| format!("http://{upstream}"));
        let file = file.map(Path::to_owned);
        let mut relay =
            Self { daemon: None, port: 0, stats: 0, folder: folder.to_owned(), upstream, more, file };
        relay.again();
        relay
    }

    /// Starts it once more after it ended, with the same data.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn again(&mut self) {
        let folder = self.folder.to_string_lossy().into_owned();
        let mut variables =
            vec![("DATA_DIR", folder.as_str()), ("LISTEN_PORT", "0"), ("STATS_ADDR", "127.0.0.1:0")];
        variables.extend(self.upstream.as_deref().map(|upstream| ("DD_URL", upstream)));
        variables.extend(self.more.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let daemon = match &self.file {
            None => Daemon::start("agent-relay", &variables),
            Some(file) => {
                let mut command = Command::new(binary("agent-relay"));
                command.env_clear().envs(variables).arg("--config").arg(file);
                Daemon::watch("agent-relay", command)
            }
        };
        self.stats = daemon.port("Starting stats listener", "addr");
        self.port = daemon.port("Starting agent listener", "addr");
        self.daemon = Some(daemon);
    }

    /// Kills it where it stands, and starts it again.
    ///
    /// # Panics
    /// When it is gone.
    pub fn kill_and_start(&mut self) {
        self.daemon.take().expect("it runs").kill();
        self.again();
    }

    /// The balance sheet.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn balance(&self) -> Balance {
        Self::read(&http::get(self.stats, BALANCE))
    }

    /// The same while the binary changes, when who asks for numbers in that very moment may hear nothing.
    ///
    /// # Panics
    /// When the answer is none.
    pub fn balance_if_told(&self) -> Option<Balance> {
        http::try_get(self.stats, BALANCE).map(|told| Self::read(&told))
    }

    fn read(told: &str) -> Balance {
        let value: Value = serde_json::from_str(told).expect("JSON");
        let field = |name: &str| value[name].as_u64().expect("a number");
        Balance {
            accepted: field("accepted"),
            delivered: field("delivered"),
            queued: field("queued"),
            dead_lettered: field("dead_lettered"),
        }
    }

    /// How many requests it asked to be sent again for this reason, since its start.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn refused(&self, reason: &str) -> u64 {
        let metrics = http::get(self.stats, "/metrics");
        let line = format!("agent_relay_requests_refused_total{{reason=\"{reason}\"}} ");
        let told = metrics.lines().find_map(|told| told.strip_prefix(line.as_str()));
        told.and_then(|told| told.trim().parse().ok()).expect("a number")
    }

    /// Waits until nothing is queued, however much that was, and returns the balance.
    ///
    /// # Panics
    /// When what stays does not get less.
    pub fn drained(&self) -> Balance {
        loop {
            let before = self.balance();
            if before.queued == 0 {
                return before;
            }
            wait_for(Stall(self), || (self.balance().queued < before.queued).then_some(()));
        }
    }
}

/// A queue that does not become shorter, told with all that is known of it at that moment.
struct Stall<'a>(&'a Relay);

impl fmt::Display for Stall<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "the queue to become shorter:")?;
        for path in [BALANCE, "/api/v1/agents", "/api/v1/upstreams", "/metrics"] {
            let told = http::try_get(self.0.stats, path);
            writeln!(formatter, "{path}: {}", told.as_deref().unwrap_or("no answer"))?;
        }
        Ok(())
    }
}

/// What the relay says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Balance {
    pub accepted: u64,
    pub delivered: u64,
    pub queued: u64,
    pub dead_lettered: u64,
}

impl Balance {
    /// Whether it adds up to the unit.
    pub fn adds_up(&self) -> bool {
        self.accepted == self.delivered + self.queued + self.dead_lettered
    }
}

/// Posts a body as the agent of this key; the status, or nothing when the connection broke.
pub fn post(port: u16, key: &str, body: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let length = body.len();
    write!(
        stream,
        "POST /intake/?api_key={key} HTTP/1.1\r\nHost: relay\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

/// Sends exactly these bytes and returns what comes back until the other side ends.
///
/// # Panics
/// When nobody listens.
pub fn say(port: u16, bytes: &[u8]) -> String {
    let mut stream = connect(port);
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout can be set");
    stream.write_all(bytes).expect("it is taken");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    String::from_utf8_lossy(&answer).into_owned()
}
