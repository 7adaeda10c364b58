//! The numbers of goproxy, as `/metrics` shows them.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, counter::Counter, gauge::ConstGauge, gauge::Gauge},
    registry::Registry,
};

use crate::queue::Queue;

/// What is counted as it happens.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Connections that are relayed now.
    pub connections_active: Gauge,
    /// Connections that were accepted.
    pub connections: Counter,
    /// Connections whose service could not be reached.
    pub dial_failures: Counter,
    /// Accepts that failed, for want of descriptors for example.
    pub accept_failures: Counter,
    /// Times when no descriptors were left for another connection.
    pub accept_pauses: Counter,
    /// Decoders that failed; each made a connection opaque.
    pub decoder_failures: Counter,
    /// Exchanges in which secrets were overwritten.
    pub exchanges_redacted: Counter,
    /// Streams to the forwarder that ended otherwise than asked.
    pub forwarder_failures: Counter,
    /// 1 while the forwarder acknowledges, 0 while it is away.
    pub forwarder_connected: Gauge,
}

impl Metrics {
    /// Names everything, with the numbers of the queue.
    pub fn registry(&self, queue: Arc<Queue>) -> Registry {
        let mut registry = Registry::with_prefix("goproxy");
        registry.register("connections_active", "Connections relayed now", self.connections_active.clone());
        registry.register("connections", "Connections accepted", self.connections.clone());
        registry.register(
            "dial_failures",
            "Connections whose service could not be reached",
            self.dial_failures.clone(),
        );
        registry.register("accept_failures", "Accepts that failed", self.accept_failures.clone());
        registry.register(
            "accept_pauses",
            "Times when no file descriptors were left for another connection",
            self.accept_pauses.clone(),
        );
        registry.register(
            "decoder_failures",
            "Connections made opaque by a decoder that failed",
            self.decoder_failures.clone(),
        );
        registry.register(
            "exchanges_redacted",
            "Exchanges in which secrets were overwritten",
            self.exchanges_redacted.clone(),
        );
        registry.register(
            "forwarder_failures",
            "Streams to the forwarder that broke",
            self.forwarder_failures.clone(),
        );
        registry.register(
            "forwarder_connected",
            "Whether the forwarder acknowledges",
            self.forwarder_connected.clone(),
        );
        registry.register_collector(Box::new(QueueNumbers(queue)));
        registry
    }
}

struct QueueNumbers(Arc<Queue>);

impl fmt::Debug for QueueNumbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueueNumbers")
    }
}

impl Collector for QueueNumbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = self.0.counts();
        for (name, help, value) in [
            ("exchanges_seen", "Exchanges that are over", counts.seen),
            ("exchanges_stored", "Exchanges that the forwarder has on disk", counts.acknowledged),
        ] {
            let metric = ConstCounter::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        let mut dropped = encoder.encode_descriptor(
            "exchanges_dropped",
            "Exchanges of which nothing was kept",
            None,
            MetricType::Counter,
        )?;
        for (reason, value) in [
            ("memory", counts.dropped_memory),
            ("decoder", counts.dropped_decoder),
            ("refused", counts.dropped_refused),
        ] {
            ConstCounter::new(value).encode(dropped.encode_family(&[("reason", reason)])?)?;
        }
        for (name, help, value) in [
            ("exchanges_in_flight", "Exchanges that wait for the forwarder", counts.in_flight),
            ("capture_memory_bytes", "Capture memory in use", self.0.budget().used() as u64),
            ("capture_memory_limit_bytes", "Capture memory in all", self.0.budget().limit() as u64),
        ] {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            metric.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}
