//! Captures every request and response that passes to a service, and changes none of them.

#[doc(hidden)]
pub mod attack;
pub mod budget;
pub mod config;
pub mod connection;
pub mod crew;
pub mod decode;
pub mod dial;
pub mod dissect;
mod findings;
pub mod http1;
pub mod link;
pub mod metrics;
pub mod opaque;
pub mod queue;
pub mod redact;
pub mod redaction;
pub mod server;
pub mod sniff;
pub mod tap;
pub mod worker;

use common::{daemon::Daemon, telemetry::Layout};

/// What is fixed about goproxy.
pub static DAEMON: Daemon = Daemon {
    name: "goproxy",
    about: "Captures every request and response that passes to a service",
    settings: &config::SETTINGS,
    layout: Layout::InfoTM,
    threads: 1,
};
