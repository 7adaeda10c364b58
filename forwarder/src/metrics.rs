//! The numbers of forwarder, as `/metrics` shows them.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::{
    service::Service,
    store::{Health, Store},
};

/// Everything that is counted, under its name.
pub fn registry(store: Store, service: Service) -> Registry {
    let mut registry = Registry::with_prefix("forwarder");
    registry.register_collector(Box::new(Numbers { store, service }));
    registry
}

struct Numbers {
    store: Store,
    service: Service,
}

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Numbers")
    }
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.encode_accounts(&mut encoder)?;
        let counters = self.store.counters();
        for (name, help, value) in [
            ("sealed_rows", "Exchanges sealed into segments", counters.sealed_rows),
            ("sealed_bytes", "Bytes of the segments they became", counters.sealed_bytes),
            (
                "seal_rests",
                "Times that sealing rested, because others wanted the processor",
                counters.seal_rests,
            ),
            ("seal_failures", "Times that sealing failed and was tried again", counters.seal_failures),
            ("expired_rows", "Exchanges that retention removed", counters.expired_rows),
            ("damaged_rows", "Exchanges in damaged segments", counters.damaged_rows),
            (
                "lost_log_bytes",
                "Bytes of log that were acknowledged and could not be read back",
                counters.lost_bytes,
            ),
            (
                "torn_log_bytes",
                "Bytes at the end of the log that were never acknowledged",
                counters.torn_bytes,
            ),
            ("quarantined_files", "Damaged files that were put aside", counters.quarantined_files),
        ] {
            ConstCounter::new(value).encode(encoder.encode_descriptor(
                name,
                help,
                None,
                MetricType::Counter,
            )?)?;
        }
        let good = u64::from(self.store.health() == Health::Good);
        for (name, help, value) in [
            ("proxies_alive", "Runs of proxies with a lease", self.service.alive() as u64),
            ("log_backlog_bytes", "Bytes of log that wait for being sealed", counters.backlog_bytes),
            ("log_good", "Whether the last write of the log was acknowledged", good),
        ] {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            metric.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}

impl Numbers {
    /// The sheet of every proxy in sum; `/api/v1/accounting` has it by proxy.
    fn encode_accounts(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let accounts = self.store.accounting();
        let sum = |part: fn(&crate::store::Account) -> u64| accounts.values().map(part).sum::<u64>();
        for (name, help, value) in [
            ("exchanges_seen", "Exchanges that proxies saw", sum(|account| account.seen)),
            ("exchanges_stored", "Exchanges that were stored", sum(|account| account.stored)),
            ("exchanges_filtered", "Exchanges that a rule left out", sum(|account| account.filtered)),
        ] {
            ConstCounter::new(value).encode(encoder.encode_descriptor(
                name,
                help,
                None,
                MetricType::Counter,
            )?)?;
        }
        let mut dropped = std::collections::BTreeMap::new();
        for (reason, count) in accounts.values().flat_map(|account| &account.dropped) {
            *dropped.entry(*reason).or_insert(0) += count;
        }
        let help = "Exchanges of which nothing was kept";
        let mut family = encoder.encode_descriptor("exchanges_dropped", help, None, MetricType::Gauge)?;
        for (reason, count) in dropped {
            let metric = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            metric.encode(family.encode_family(&[("reason", reason)])?)?;
        }
        let in_flight = i64::try_from(sum(|account| account.in_flight)).unwrap_or(i64::MAX);
        let help = "Exchanges that proxies hold";
        ConstGauge::new(in_flight).encode(encoder.encode_descriptor(
            "exchanges_in_flight",
            help,
            None,
            MetricType::Gauge,
        )?)
    }
}
