//! The harness of the end-to-end scenarios: real binaries, real sockets, nothing of the daemons linked in.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness fails by panicking"
)]

pub mod amazon;
pub mod autostop;
pub mod browser;
pub mod capture;
pub mod daemon;
pub mod docker;
pub mod flag;
pub mod flags;
pub mod http;
pub mod keeper;

pub mod peer;
pub mod plugin;
pub mod program;
pub mod redis;
pub mod relay;
pub mod rude;
pub mod systemd;
pub mod wait;
