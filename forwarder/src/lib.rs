//! Keeps what the proxies captured, and shows it.

pub mod api;
#[doc(hidden)]
pub mod attack;
mod coding;
pub mod command;
pub mod config;
pub mod export;
pub mod metrics;
pub mod query;
pub mod registry;
pub mod rrpair;
pub mod server;
pub mod service;
pub mod store;
pub mod web;

use common::{daemon::Daemon, telemetry::Layout};

/// What is fixed about forwarder.
pub static DAEMON: Daemon = Daemon {
    name: "forwarder",
    about: "Keeps what the proxies captured, and shows it",
    settings: &config::SETTINGS,
    layout: Layout::LevelMsgTime,
    threads: 2,
};
