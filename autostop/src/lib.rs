//! Puts idle machines to sleep and wakes them when someone connects: `lw_proxy`, the control plane, and
//! `lw_tcp_proxy`, the data plane.

pub mod config;
pub mod depends;
pub mod idle;
pub mod journal;
pub mod ledger;
pub mod machine;
pub mod ports;
pub mod provider;
#[doc(hidden)]
pub mod rehearsal;
pub mod rule;
pub mod schedule;
pub mod wire;
