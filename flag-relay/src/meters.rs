//! The numbers for `/metrics`, under the names that the documented dashboards know.

mod relays;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use self::relays::Relays;

/// SDKs that are told apart: keys of clients are no secrets, and whoever has one can make up names.
const MOST_SDKS: usize = 2000;

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
#[expect(non_snake_case, reason = "the label is called so")]
struct Asked {
    url: &'static str,
    envID: Arc<str>,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Url {
    url: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
#[expect(non_snake_case, reason = "the label is called so")]
struct Sdk {
    envID: Arc<str>,
    sdk_type: String,
    sdk_version: String,
    sdk_language: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
#[expect(non_snake_case, reason = "the label is called so")]
struct Forwarded {
    envID: String,
    error: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Makes a histogram of seconds.
fn seconds() -> Histogram {
    Histogram::new([0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0])
}

fn bytes() -> Histogram {
    Histogram::new([0.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0])
}

/// All numbers.
pub struct Meters {
    registry: Registry,
    requests: Family<Asked, Counter>,
    durations: Family<Url, Histogram, fn() -> Histogram>,
    lengths: Family<Url, Histogram, fn() -> Histogram>,
    sdks: Family<Sdk, Gauge<i64, AtomicI64>>,
    sdks_known: AtomicUsize,
    /// Streams that were opened.
    pub(crate) streams_opened: Gauge,
    /// Streams that are open.
    pub(crate) streams: Gauge,
    /// Events that were written to streams.
    pub(crate) events: Gauge,
    ended: Family<Reason, Counter>,
    forwarded: Family<Forwarded, Gauge>,
    /// What goes between relays.
    pub(crate) relays: Relays,
    /// Loads of the source in which something was refused.
    pub(crate) refused_loads: Counter,
    /// Connections that were accepted.
    pub(crate) connections: Counter,
}

impl Default for Meters {
    fn default() -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        registry.register("ff_proxy_http_requests", "Requests of SDKs", requests.clone());
        let durations = Family::new_with_constructor(seconds as fn() -> Histogram);
        registry.register("ff_proxy_http_requests_duration", "Seconds per request", durations.clone());
        let lengths = Family::new_with_constructor(bytes as fn() -> Histogram);
        let help = "Bytes of the bodies of requests";
        registry.register("ff_http_requests_content_length_histogram", help, lengths.clone());
        let sdks = Family::default();
        registry.register("ff_proxy_sdk_usage", "Requests by SDK", sdks.clone());
        let (streams_opened, streams, events) = (Gauge::default(), Gauge::default(), Gauge::default());
        let prefix = "ff_proxy_primary_to_sdk_sse_producer";
        let name = format!("{prefix}_subscription_requests");
        registry.register(name, "Streams that SDKs opened", streams_opened.clone());
        let name = format!("{prefix}_messages_published");
        registry.register(name, "Events that were written to streams of SDKs", events.clone());
        registry.register("flag_relay_streams", "Streams of SDKs that are open", streams.clone());
        let ended = Family::default();
        registry.register("flag_relay_streams_ended", "Streams that ended, by reason", ended.clone());
        let forwarded = Family::default();
        let help = "Bodies of metrics that were passed on, or could not be";
        registry.register("ff_proxy_metrics_forwarded", help, forwarded.clone());
        let refused_loads = Counter::default();
        let help = "Loads of the source in which something was refused";
        registry.register("flag_relay_source_refused", help, refused_loads.clone());
        let connections = Counter::default();
        registry.register("flag_relay_connections", "Connections that were accepted", connections.clone());
        let relays = Relays::new(&mut registry);
        Self {
            relays,
            registry,
            requests,
            durations,
            lengths,
            sdks,
            sdks_known: AtomicUsize::new(0),
            streams_opened,
            streams,
            events,
            ended,
            forwarded,
            refused_loads,
            connections,
        }
    }
}

impl Meters {
    pub(crate) fn asked(
        &self,
        url: &'static str,
        environment: Option<&Arc<str>>,
        code: StatusCode,
        bytes: usize,
        took: Duration,
    ) {
        let env_id = environment.map_or_else(|| Arc::from(""), Arc::clone);
        self.requests.get_or_create(&Asked { url, envID: env_id, code: code.as_u16() }).inc();
        self.durations.get_or_create(&Url { url }).observe(took.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "bodies are small")]
        self.lengths.get_or_create(&Url { url }).observe(bytes as f64);
    }

    /// An SDK that calls itself so asked something.
    pub(crate) fn sdk(&self, environment: &Arc<str>, told: &str) {
        let told = crate::sdk::Sdk::parse(told);
        let mut labels = Sdk {
            envID: Arc::clone(environment),
            sdk_type: told.kind,
            sdk_version: told.version,
            sdk_language: told.language,
        };
        if self.sdks.get(&labels).is_none() && self.sdks_known.fetch_add(1, Ordering::Relaxed) >= MOST_SDKS {
            labels = Sdk {
                envID: Arc::clone(environment),
                sdk_type: String::new(),
                sdk_version: String::new(),
                sdk_language: "other".to_owned(),
            };
        }
        self.sdks.get_or_create(&labels).inc();
    }

    /// A body of metrics was passed on, or could not be.
    pub(crate) fn forwarded(&self, environment: &str, error: &'static str) {
        self.forwarded.get_or_create(&Forwarded { envID: environment.to_owned(), error }).inc();
    }

    /// So many events were written to a stream, by a replica or not.
    pub(crate) fn told(&self, count: usize, is_replica: bool) {
        if is_replica {
            self.relays.to_sdks.add(count);
        } else {
            self.events.inc_by(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    pub(crate) fn stream_ended(&self, reason: &'static str) {
        self.ended.get_or_create(&Reason { reason }).inc();
    }

    /// Everything as text.
    pub(crate) fn text(&self) -> String {
        let mut told = String::new();
        // Writing into a text cannot fail.
        text::encode(&mut told, &self.registry).ok();
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_names_have_an_end() {
        let (meters, environment) = (Meters::default(), Arc::from("e"));
        for number in 0..MOST_SDKS + 50 {
            meters.sdk(&environment, &format!("Made {number} Client"));
        }
        let text = meters.text();
        assert_eq!(
            text.lines().filter(|line| line.starts_with("ff_proxy_sdk_usage{")).count(),
            MOST_SDKS + 1
        );
        assert!(text.contains("sdk_language=\"other\"} 50"), "and nobody is left uncounted");
    }
}
