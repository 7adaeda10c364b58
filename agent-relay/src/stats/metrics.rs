//! The numbers for `/metrics`, read where they are kept.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::board::Board;
use crate::intake::REASONS;

/// See the module.
pub(super) struct Numbers(Arc<Board>);

impl Numbers {
    pub(super) fn new(board: Arc<Board>) -> Self {
        Self(board)
    }
}

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Numbers")
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    gauge.encode(encoder.encode_descriptor(&format!("agent_relay_{name}"), help, None, MetricType::Gauge)?)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let name = format!("agent_relay_{name}");
    ConstCounter::new(value).encode(encoder.encode_descriptor(&name, help, None, MetricType::Counter)?)
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let board = &self.0;
        let (queue, taken) = (&board.relay.queue, &board.taken);
        let balance = queue.balance();
        let outage = board.outage();
        let encoder = &mut encoder;
        counter(
            encoder,
            "requests_accepted",
            "Requests that agents were told are accepted",
            balance.accepted,
        )?;
        counter(encoder, "requests_delivered", "Requests that the other side took", balance.delivered)?;
        gauge(encoder, "requests_queued", "Requests that wait on disk", balance.queued)?;
        gauge(
            encoder,
            "requests_dead_lettered",
            "Requests that were put aside for good",
            balance.dead_lettered,
        )?;
        gauge(encoder, "queued_bytes", "Bytes that wait on disk", queue.queued_bytes())?;
        gauge(encoder, "dead_letter_bytes", "Bytes of dead letters that are kept", queue.dead_bytes())?;
        gauge(encoder, "room_bytes", "Bytes that may come before agents are refused", outage.room_bytes)?;
        if let Some(seconds) = outage.seconds {
            let help = "How long an outage of the other side may last at the present rate";
            gauge(encoder, "outage_budget_seconds", help, seconds)?;
        }
        gauge(encoder, "connections_open", "Connections of agents that are open", load(&taken.open))?;
        counter(encoder, "connections", "Connections of agents", load(&taken.connections))?;
        counter(encoder, "received_bytes", "Bytes of bodies that were accepted", load(&taken.bytes_in))?;
        counter(encoder, "requests_live", "Requests that were carried live", load(&taken.live))?;
        counter(encoder, "denied", "Connections and requests of nobody who is known", load(&taken.denied))?;
        counter(encoder, "requests_bad", "Requests whose framing was bad", load(&taken.bad))?;
        counter(encoder, "requests_too_large", "Requests beyond body_max_bytes", load(&taken.too_large))?;
        counter(encoder, "requests_late", "Requests whose body took too long", load(&taken.late))?;
        let help = "Requests that agents were asked to send again, by reason";
        let mut refused =
            encoder.encode_descriptor("agent_relay_requests_refused", help, None, MetricType::Counter)?;
        for (reason, counter) in REASONS.iter().zip(&taken.refused) {
            ConstCounter::new(load(counter)).encode(refused.encode_family(&[("reason", *reason)])?)?;
        }
        let help = "Answers of upstreams, by their hundreds";
        let mut answers =
            encoder.encode_descriptor("agent_relay_upstream_answers", help, None, MetricType::Counter)?;
        let plan = board.relay.plan();
        for upstream in &plan.upstreams {
            for (code, counter) in ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(&upstream.counts.answers) {
                let labels = [("upstream", upstream.spec.name.as_str()), ("code", *code)];
                ConstCounter::new(load(counter)).encode(answers.encode_family(&labels)?)?;
            }
        }
        let help = "Whether an upstream gets more than a probe";
        let mut up = encoder.encode_descriptor("agent_relay_upstream_up", help, None, MetricType::Gauge)?;
        for upstream in &plan.upstreams {
            let is_up = i64::from(!upstream.breaker().is_open());
            let labels = [("upstream", upstream.spec.name.as_str())];
            ConstGauge::new(is_up).encode(up.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
