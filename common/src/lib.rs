//! What every Wayside daemon shares: configuration, daemon life, telemetry and the capture wire.

pub mod admin;
#[doc(hidden)]
pub mod attack;
pub mod backoff;
pub mod chunked;
pub mod config;
pub mod daemon;
pub mod descriptors;
pub mod disk;
pub mod door;
pub mod drain;
pub mod exchange;
pub mod handover;
pub mod kept;
pub mod listen;
pub mod memory;
pub mod notify;
pub mod pages;
pub mod priority;
pub mod quiet;
pub mod relay;
pub mod telemetry;
pub mod trust;
pub mod visible;
pub mod wire;
