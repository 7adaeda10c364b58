//! Takes what monitoring agents send, keeps it on disk, and delivers it in order.

use std::process::ExitCode;

use agent_relay::{DAEMON, config::Config, server, tool};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let matches = match DAEMON.matches(tool::command()) {
        Ok(matches) => matches,
        Err(done) => return done,
    };
    match matches.subcommand() {
        Some(("queue", matches)) => tool::queue(matches),
        Some(("import", matches)) => tool::import(matches),
        _ => DAEMON.run(&matches, Config::resolve, server::serve),
    }
}
