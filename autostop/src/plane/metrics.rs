//! The numbers of the data plane, as `/metrics` shows them.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _},
    metrics::{MetricType, counter::Counter, family::Family, gauge::ConstGauge},
    registry::Registry,
};

use super::Plane;

/// Why somebody was sent away.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// One of a few words.
    pub reason: &'static str,
}

/// The first digit of a status.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Class {
    /// `2xx`, and so on.
    pub status: &'static str,
}

/// What is counted as it happens.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Connections that were accepted.
    pub connections: Counter,
    /// Requests that were answered.
    pub requests: Family<Class, Counter>,
    /// Wakes that were asked for.
    pub wakes: Counter,
    /// Those that were sent away.
    pub refused: Family<Reason, Counter>,
    /// Targets that should have answered and did not.
    pub dial_failures: Counter,
    /// Accepts that failed, for want of descriptors for example.
    pub accept_failures: Counter,
    /// Links to the control plane that broke.
    pub link_failures: Counter,
}

impl Metrics {
    /// Somebody was sent away.
    pub fn refuse(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    /// A request was answered.
    pub fn answer(&self, status: u16) {
        let status = match status / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.requests.get_or_create(&Class { status }).inc();
    }
}

/// Names everything, with the numbers of the gates.
pub(super) fn registry(plane: &Arc<Plane>) -> Registry {
    let mut registry = Registry::with_prefix("lw_tcp_proxy");
    let metrics = &plane.metrics;
    registry.register("connections", "Connections accepted", metrics.connections.clone());
    registry.register("http_requests", "Requests answered, by class of status", metrics.requests.clone());
    registry.register("wakes", "Wakes asked for", metrics.wakes.clone());
    registry.register("refused", "Clients sent away, by reason", metrics.refused.clone());
    registry.register(
        "dial_failures",
        "Targets that should have answered and did not",
        metrics.dial_failures.clone(),
    );
    registry.register("accept_failures", "Accepts that failed", metrics.accept_failures.clone());
    registry.register(
        "link_failures",
        "Links to the control plane that broke",
        metrics.link_failures.clone(),
    );
    registry.register_collector(Box::new(Gates(Arc::downgrade(plane))));
    registry
}

struct Gates(Weak<Plane>);

impl fmt::Debug for Gates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gates")
    }
}

impl Collector for Gates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(plane) = self.0.upgrade() else { return Ok(()) };
        let (mut connections, mut requests, mut parked, mut held) = (0u64, 0u64, 0u64, 0u64);
        for gate in plane.gates().values() {
            let counts = gate.counts();
            connections += u64::from(counts.open_connections);
            requests += u64::from(counts.open_requests);
            parked += u64::from(counts.parked);
            held += gate.held() as u64;
        }
        for (name, help, value) in [
            ("connections_active", "Connections that are carried", connections),
            ("http_requests_active", "Requests that are carried", requests),
            ("parked", "Connections and requests that wait", parked),
            ("held_bytes", "What those who wait have said already", held),
        ] {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            metric.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}
