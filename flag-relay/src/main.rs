//! Feature flags inside your own network.

use std::process::ExitCode;

use flag_relay::{DAEMON, config::Config, server, tool};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    DAEMON.run(&tool::command().get_matches(), Config::resolve, server::serve)
}
