//! Captures every request and response that passes to a service.

use std::process::ExitCode;

use common::memory;
use goproxy::{DAEMON, config::Config, server};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    memory::in_small_pages();
    match DAEMON.matches(DAEMON.command()) {
        Ok(matches) => DAEMON.run(&matches, Config::resolve, server::serve),
        Err(done) => done,
    }
}
