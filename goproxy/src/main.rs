//! Captures every request and response that passes to a service.

use std::process::ExitCode;

use goproxy::{DAEMON, config::Config, server};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    server::stay_small();
    DAEMON.run(&DAEMON.command().get_matches(), Config::resolve, server::serve)
}
