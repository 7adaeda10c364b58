//! The data plane over real sockets, against a control plane that follows a script.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

mod calls;
mod control;
mod fence;
mod hold;
mod peers;
mod scene;
mod streams;
mod tunnels;
mod wake;
mod web;
