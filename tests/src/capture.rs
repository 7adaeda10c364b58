//! A goproxy before a service, and a forwarder behind it, as a user would start them.

use std::net::SocketAddr;

use serde_json::Value;
use tempfile::TempDir;

use crate::{daemon::Daemon, http, peer::free_port, wait::wait_for};

/// A forwarder and where it keeps things; it can be killed and started again at the same place.
pub struct Forwarder {
    /// The process.
    pub daemon: Option<Daemon>,
    /// Its gRPC port.
    pub port: u16,
    /// Its HTTP port.
    pub analyzer: u16,
    /// Its data folder.
    pub data: TempDir,
    variables: Vec<(String, String)>,
}

impl Forwarder {
    /// Starts one on free ports with a fresh folder.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(variables: &[(&str, &str)]) -> Self {
        let data = TempDir::new().expect("a folder");
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut forwarder = Self { daemon: None, port: free_port(), analyzer: free_port(), data, variables };
        forwarder.restart();
        forwarder
    }

    /// Starts it again where it was.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&mut self) {
        let is_first = self.data.path().read_dir().is_ok_and(|mut files| files.next().is_none());
        let (service, analyzer) = (self.port.to_string(), format!("127.0.0.1:{}", self.analyzer));
        let folder = self.data.path().to_string_lossy().into_owned();
        let own = [("SERVICE_PORT", service.as_str()), ("ANALYZER_ADDR", &analyzer), ("DATA_DIR", &folder)];
        let told = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut daemon = Daemon::start("forwarder", &own.into_iter().chain(told).collect::<Vec<_>>());
        if !is_first {
            // What it was writing when it was killed.
            daemon.announce("log ended in a write that was never acknowledged");
        }
        self.port = daemon.port("Starting gRPC listener", "msg");
        self.analyzer = daemon.port("Starting Analyzer", "msg");
        self.daemon = Some(daemon);
    }

    /// Ends it as a power switch would.
    ///
    /// # Panics
    /// When it is not running.
    pub fn kill(&mut self) {
        self.daemon.take().expect("it runs").kill();
    }

    /// What it answers at this path.
    ///
    /// # Panics
    /// When it does not answer with JSON.
    pub fn json(&self, path: &str) -> Value {
        serde_json::from_str(&http::get(self.analyzer, path)).expect("as JSON")
    }

    /// The rows that this statement selects, asked for again while that takes longer than a statement may: what is not
    /// sealed yet is read slowly.
    ///
    /// # Panics
    /// When it is refused.
    pub fn sql(&self, statement: &str) -> Vec<Value> {
        let ask = || http::post_in_time(self.analyzer, "/api/v1/sql", statement);
        let answer = wait_for(format!("an answer to {statement}"), ask);
        let answer: Value = serde_json::from_str(&answer).expect("as JSON");
        answer["rows"].as_array().cloned().expect("rows")
    }

    /// The account of one proxy; empty when it does not know the proxy.
    pub fn account(&self, proxy_id: &str) -> Account {
        let sheet = self.json("/api/v1/accounting");
        let account = &sheet["proxies"][proxy_id];
        let number = |field: &str| account[field].as_u64().unwrap_or_default();
        let dropped = account["dropped"].as_object();
        Account {
            seen: number("seen"),
            stored: number("stored"),
            filtered: number("filtered"),
            dropped: dropped
                .map(|by_reason| by_reason.values().filter_map(Value::as_u64).sum())
                .unwrap_or_default(),
            in_flight: number("in_flight"),
        }
    }

    /// Waits until a proxy has nothing in flight and has seen so many exchanges; returns its account.
    ///
    /// # Panics
    /// When that does not become so.
    pub fn settled(&self, proxy_id: &str, seen: u64) -> Account {
        let mut last = Account::default();
        wait_for(format!("{seen} exchanges of {proxy_id} to be settled"), || {
            last = self.account(proxy_id);
            assert!(last.adds_up(), "{last:?}");
            assert!(last.seen <= seen, "{last:?} is more than {seen}");
            (last.seen == seen && last.in_flight == 0).then_some(last)
        })
    }
}

/// One line of the accounting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Exchanges that are over.
    pub seen: u64,
    /// Of these, on disk.
    pub stored: u64,
    /// Of these, left out by a rule.
    pub filtered: u64,
    /// Of these, lost, for all reasons together.
    pub dropped: u64,
    /// Of these, on their way.
    pub in_flight: u64,
}

impl Account {
    /// The law.
    pub fn adds_up(&self) -> bool {
        self.seen == self.stored + self.filtered + self.dropped + self.in_flight
    }
}

/// A goproxy on free ports.
pub struct Goproxy {
    /// The process.
    pub daemon: Daemon,
    /// Where clients connect.
    pub port: u16,
    /// Where its metrics are.
    pub metrics: u16,
}

impl Goproxy {
    /// Starts one named `instance` before `upstream`, with the reference's variables.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(instance: &str, upstream: SocketAddr, forwarder_port: u16, more: &[(&str, &str)]) -> Self {
        Self::start_under(&[], instance, upstream, forwarder_port, more)
    }

    /// Starts one by another program, which becomes goproxy.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_under(
        program: &[&str],
        instance: &str,
        upstream: SocketAddr,
        forwarder_port: u16,
        more: &[(&str, &str)],
    ) -> Self {
        let (host, port) = (upstream.ip().to_string(), upstream.port().to_string());
        let forwarder = format!("127.0.0.1:{forwarder_port}");
        let own = [
            ("PROXY_TYPE", "reverse"),
            ("PROXY_IN_PORT", "0"),
            ("REVERSE_PROXY_HOST", &host),
            ("REVERSE_PROXY_PORT", &port),
            ("APP_LABEL", "shop"),
            ("APP_POD_NAME", instance),
            ("FORWARDER_ADDR", &forwarder),
            ("HEALTH_ADDR", "127.0.0.1:0"),
            ("METRICS_HTTP_ENABLE", "true"),
            ("METRICS_HTTP_PORT", "0"),
        ];
        let variables: Vec<_> = own.into_iter().chain(more.iter().copied()).collect();
        let daemon = Daemon::start_under(program, "goproxy", &variables);
        let port = daemon.port("Starting proxy listener", "addr");
        let metrics = daemon.port("Starting metrics listener", "addr");
        Self { daemon, port, metrics }
    }

    /// Waits until so many exchanges were seen: a client has its answer before the decoder has.
    ///
    /// # Panics
    /// When it is not so many in the end.
    pub fn wait_until_seen(&self, exchanges: u64) {
        let name = "goproxy_exchanges_seen_total";
        wait_for(format!("{exchanges} exchanges to be seen"), || {
            (self.metric(name) >= exchanges).then_some(())
        });
        assert_eq!(self.metric(name), exchanges);
    }

    /// The value of a metric, with its labels if it has any; 0 when it is not there.
    ///
    /// # Panics
    /// When the metrics do not answer.
    pub fn metric(&self, name: &str) -> u64 {
        let text = http::get(self.metrics, "/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_default()
    }
}
