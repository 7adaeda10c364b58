//! Feature flags inside your own network.

use std::process::ExitCode;

use flag_relay::{DAEMON, config::Config, server, tool};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let matches = tool::command().get_matches();
    match matches.subcommand() {
        Some(("check", matches)) => tool::check(matches),
        Some(("eval", matches)) => tool::eval(matches),
        _ => DAEMON.run(&matches, Config::resolve, server::serve),
    }
}
