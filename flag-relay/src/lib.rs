//! Feature flags inside your own network: SDKs ask the relay, and keep working when the service behind it is away.
//!
//! A [`source`] tells the [`store`] what there is. The store makes an [`environment`] of it, with its [`ruleset`] and
//! everything that is the same for all SDKs, swaps it in, and only then tells the streams of the [`hub`].

pub mod api;
#[doc(hidden)]
pub mod attack;
pub mod config;
pub mod environment;
pub mod evaluate;
#[cfg(test)]
mod example;
pub mod export;
mod front;
pub mod hub;
pub mod keep;
pub mod lint;
pub mod meters;
mod recent;
mod roster;
pub mod ruleset;
pub mod saas;
mod sdk;
pub mod secret;
pub mod server;
pub mod shape;
pub mod shared;
pub mod source;
mod status;
pub mod store;
mod stream;
mod tls;
pub mod token;
pub mod tool;
pub mod usage;

use common::{daemon::Daemon, telemetry::Layout};

/// What is fixed about flag-relay.
pub static DAEMON: Daemon = Daemon {
    name: "flag-relay",
    about: "Feature flags inside your own network: SDKs ask it, and keep working when the service behind it is away",
    settings: &config::SETTINGS,
    layout: Layout::LevelMsgTime,
    threads: 2,
};
