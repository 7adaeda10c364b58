//! The data plane of autostop: carries HTTP and TCP to what may be asleep.

use std::process::ExitCode;

use autostop::plane::config::{self, Config};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    config::DAEMON.run(&config::DAEMON.command().get_matches(), Config::resolve, config::serve)
}
