//! The numbers for `/metrics`, read where they are kept.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use crate::relay::Relay;

/// See the module.
pub(super) struct Numbers(Arc<Relay>);

impl Numbers {
    pub(super) fn new(relay: Arc<Relay>) -> Self {
        Self(relay)
    }
}

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Numbers")
    }
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let balance = self.0.queue.balance();
        let gauges = [
            (
                "accepted",
                "Requests that agents were told are accepted; less after a crash never",
                balance.accepted,
            ),
            ("delivered", "Requests that the other side took, as far as it is on disk", balance.delivered),
            ("queued", "Requests that wait on disk", balance.queued),
            ("dead_lettered", "Requests that were put aside", balance.dead_lettered),
            ("queued_bytes", "Bytes that wait on disk", self.0.queue.queued_bytes()),
        ];
        for (name, help, value) in gauges {
            let name = format!("agent_relay_{name}");
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?)?;
        }
        let help = "Answers of upstreams, by their hundreds";
        let mut answers =
            encoder.encode_descriptor("agent_relay_upstream_answers", help, None, MetricType::Counter)?;
        for upstream in &self.0.plan().upstreams {
            for (code, counter) in ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(&upstream.counts.answers) {
                let labels = [("upstream", upstream.spec.name.as_str()), ("code", *code)];
                let counter = ConstCounter::new(counter.load(Ordering::Relaxed));
                counter.encode(answers.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
