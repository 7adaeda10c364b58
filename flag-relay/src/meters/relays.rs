//! The numbers of what goes between relays, Redis and the flag service, under their documented names.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    error: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Topic {
    topic: &'static str,
    error: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Host {
    host: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Url {
    url: &'static str,
    code: u16,
}

/// A stream between relays, or between a relay and the service: what went over it, and how often it was begun.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    topic: &'static str,
    messages: Family<Topic, Gauge>,
    begun: Family<Topic, Gauge>,
}

impl Flow {
    fn new(registry: &mut Registry, prefix: &str, end: &str, topic: &'static str, help: &str) -> Self {
        let (messages, begun) = (Family::default(), Family::default());
        registry.register(format!("{prefix}_messages_{end}"), help, messages.clone());
        registry.register(format!("{prefix}_subscription_requests"), "How often it was begun", begun.clone());
        let flow = Self { topic, messages, begun };
        flow.add(0);
        flow.begun.get_or_create(&flow.label()).inc_by(0);
        flow
    }

    fn label(&self) -> Topic {
        Topic { topic: self.topic, error: "false" }
    }

    /// So many messages went over it.
    pub(crate) fn add(&self, count: usize) {
        self.messages.get_or_create(&self.label()).inc_by(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// It was begun.
    pub(crate) fn begin(&self) {
        self.begun.get_or_create(&self.label()).inc();
    }
}

/// How often Redis was asked for something, and how long that took.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    durations: Histogram,
    counts: Family<Failed, Gauge>,
}

impl Asked {
    fn new(registry: &mut Registry, durations_of: &str, counts_of: &str) -> Self {
        let durations = Histogram::new([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0]);
        let counts: Family<Failed, Gauge> = Family::default();
        let name = format!("ff_proxy_redis_cache_{durations_of}_duration");
        registry.register(name, "Seconds that Redis took", durations.clone());
        let name = format!("ff_proxy_redis_cache_{counts_of}_count");
        registry.register(name, "How often Redis was asked", counts.clone());
        counts.get_or_create(&Failed { error: "false" }).inc_by(0);
        Self { durations, counts }
    }

    /// Redis was asked, and answered or not.
    pub(crate) fn note(&self, took: Duration, has_failed: bool) {
        self.durations.observe(took.as_secs_f64());
        self.counts.get_or_create(&Failed { error: if has_failed { "true" } else { "false" } }).inc();
    }
}

/// All of them.
pub(crate) struct Relays {
    /// Documents written.
    pub(crate) written: Asked,
    /// Documents read.
    pub(crate) read: Asked,
    /// Documents removed.
    pub(crate) removed: Asked,
    /// All keys looked through.
    pub(crate) scanned: Asked,
    /// From the flag service to us.
    pub(crate) from_service: Flow,
    /// From the primary to replicas, there.
    pub(crate) to_replicas: Flow,
    /// From the primary to replicas, here.
    pub(crate) from_primary: Flow,
    /// From a replica to SDKs.
    pub(crate) to_sdks: Flow,
    /// Metrics from replicas to the primary, there.
    pub(crate) metrics_in: Flow,
    /// Metrics from replicas to the primary, here.
    pub(crate) metrics_out: Flow,
    /// How often a replica read everything because events were missed.
    pub(crate) gaps: Counter,
    requests: Family<Url, Gauge>,
    durations: Histogram,
    health: Family<Host, Gauge>,
    polling: Family<Host, Gauge>,
    host: Host,
}

impl Relays {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let gaps = Counter::default();
        registry.register("flag_relay_gaps", "Times that a replica missed events", gaps.clone());
        let requests = Family::default();
        let help = "Questions to the flag service";
        registry.register("ff_proxy_to_client_service_requests", help, requests.clone());
        let durations = Histogram::new([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0]);
        let help = "Seconds that the flag service took";
        registry.register("ff_proxy_to_ff_client_service_requests_duration", help, durations.clone());
        let (health, polling) = (Family::default(), Family::default());
        registry.register("ff_proxy_stream_health", "1 while changes are heard of", health.clone());
        registry.register(
            "ff_proxy_polling_status",
            "1 while everything is read again and again",
            polling.clone(),
        );
        for name in ["miss", "hit", "write_marshal", "hit_with_unmarshal"] {
            let help = "Always 0: everything is in memory, and nothing is looked up twice";
            registry.register(format!("ff_proxy_memoize_cache_{name}"), help, Gauge::<i64>::default());
        }
        let mut flow = |prefix: &str, end, topic, help| Flow::new(registry, prefix, end, topic, help);
        let (from_service, to_replicas, from_primary, to_sdks, metrics_in, metrics_out) = (
            flow("ff_proxy_saas_to_primary_sse_consumer", "received", "*", "Events of the flag service"),
            flow(
                "ff_proxy_primary_to_replica_sse_producer",
                "published",
                "proxy:sse_events",
                "Events for replicas",
            ),
            flow("ff_proxy_replica_sse_consumer", "received", "proxy:sse_events", "Events of the primary"),
            flow("ff_proxy_replica_to_sdk_sse_producer", "published", "*", "Events for SDKs of a replica"),
            flow(
                "ff_proxy_primary_metrics_stream_consumer",
                "received",
                "stream:sdk_metrics",
                "Metrics of replicas",
            ),
            flow(
                "ff_proxy_replica_metrics_stream_producer",
                "published",
                "stream:sdk_metrics",
                "Metrics for the primary",
            ),
        );
        Self {
            written: Asked::new(registry, "write", "write"),
            read: Asked::new(registry, "read", "read"),
            removed: Asked::new(registry, "delete", "remove"),
            scanned: Asked::new(registry, "scan", "scan"),
            from_service,
            to_replicas,
            from_primary,
            to_sdks,
            metrics_in,
            metrics_out,
            gaps,
            requests,
            durations,
            health,
            polling,
            host: Host { host: host.unwrap_or_else(|| "unknown".to_owned()) },
        }
    }

    /// The flag service was asked; the code is 0 when it did not answer.
    pub(crate) fn asked(&self, url: &'static str, code: u16, took: Duration) {
        self.requests.get_or_create(&Url { url, code }).inc();
        self.durations.observe(took.as_secs_f64());
    }

    /// Whether changes are heard of as they happen.
    pub(crate) fn hears(&self, does: bool) {
        self.health.get_or_create(&self.host).set(i64::from(does));
        self.polling.get_or_create(&self.host).set(i64::from(!does));
    }
}
