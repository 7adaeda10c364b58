//! Feature flags inside your own network.

use std::process::ExitCode;

use common::memory;
use flag_relay::{DAEMON, config::Config, export, saas, server, tool};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    memory::in_small_pages();
    let matches = match DAEMON.matches(tool::command()) {
        Ok(matches) => matches,
        Err(done) => return done,
    };
    match matches.subcommand() {
        Some(("check", matches)) => tool::check(matches),
        Some(("eval", matches)) => tool::eval(matches),
        Some(("export", matches)) => export::run(matches),
        Some(("saas", matches)) => saas::SAAS.run(matches, saas::Config::resolve, saas::serve),
        _ => DAEMON.run(&matches, Config::resolve, server::serve),
    }
}
