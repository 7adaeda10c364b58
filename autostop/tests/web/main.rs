//! The dashboard, the API's door and the command line of lw_proxy, asked as people and their browsers would.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

mod access;
mod buttons;
mod commands;
mod pages;
mod plane;
mod scene;
mod written;
