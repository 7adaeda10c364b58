//! Puts idle machines to sleep and wakes them when someone connects: `lw_proxy`, the control plane, and
//! `lw_tcp_proxy`, the data plane.

#[doc(hidden)]
pub mod attack;
pub mod command;
pub mod config;
pub mod control;
pub mod depends;
pub mod hold;
pub mod idle;
pub mod journal;
pub mod ledger;
pub mod machine;
pub mod plane;
pub mod ports;
pub mod provider;
#[doc(hidden)]
pub mod rehearsal;
pub mod rule;
pub mod schedule;
pub mod web;
pub mod wire;

use common::{daemon::Daemon, telemetry::Layout};

/// What is fixed about the control plane.
pub static LW_PROXY: Daemon = Daemon {
    name: "lw_proxy",
    about: "Stops machines that nobody uses and starts them when somebody comes",
    settings: &config::SETTINGS,
    layout: Layout::LevelMsgTime,
    threads: 2,
};

/// What is fixed about the data plane.
pub static LW_TCP_PROXY: Daemon = Daemon {
    name: "lw_tcp_proxy",
    about: "Carries HTTP and TCP to machines that may be asleep, and holds clients until these are awake",
    settings: &config::SETTINGS,
    layout: Layout::LevelMsgTime,
    threads: 1,
};
