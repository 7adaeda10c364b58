//! Keeps what the proxies captured, and shows it.

use std::process::ExitCode;

use common::{memory, priority};
use forwarder::{DAEMON, command::line, config::Config, server};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let matches = match DAEMON.matches(line::with_commands(DAEMON.command())) {
        Ok(matches) => matches,
        Err(done) => return done,
    };
    match matches.subcommand() {
        Some(_) => line::run(&matches),
        None => {
            // It may stand on the machine whose traffic is captured: to clear a large page takes longer than a request does.
            memory::in_small_pages();
            priority::step_back(priority::BEHIND_TRAFFIC);
            DAEMON.run(&matches, Config::resolve, server::serve)
        }
    }
}
