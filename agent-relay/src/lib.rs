//! Takes what monitoring agents send, keeps it on disk, and delivers it in order.

#[doc(hidden)]
pub mod attack;
mod beside;
pub mod config;
mod content;
mod envelope;
mod fleet;
pub mod import;
mod intake;
mod keys;
mod pieces;
pub mod queue;
mod relay;
mod route;
pub mod server;
mod stats;
mod tcp;
pub mod tool;
mod upstream;

use common::{daemon::Daemon, telemetry::Layout};

/// What is fixed about agent-relay.
pub static DAEMON: Daemon = Daemon {
    name: "agent-relay",
    about: "Takes what monitoring agents send, keeps it on disk, and delivers it in order",
    settings: &config::SETTINGS,
    layout: Layout::InfoTM,
    threads: 2,
};
