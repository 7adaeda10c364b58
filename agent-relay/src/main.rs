//! Takes what monitoring agents send, keeps it on disk, and delivers it in order.

use std::process::ExitCode;

use agent_relay::{DAEMON, config::Config, server, tool};
use common::memory;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    memory::in_small_pages();
    let matches = match DAEMON.matches(tool::command()) {
        Ok(matches) => matches,
        Err(done) => return done,
    };
    match matches.subcommand() {
        Some(("queue", matches)) => tool::queue(matches),
        Some(("dead-letters", matches)) => tool::dead_letters(matches),
        Some(("import", matches)) => tool::import(matches),
        _ => {
            let own = matches.clone();
            let reread = Box::new(move || Config::resolve(DAEMON.settings(&own)?));
            DAEMON.run(&matches, Config::resolve, |config, drain| server::serve(config, reread, drain))
        }
    }
}
