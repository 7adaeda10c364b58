//! Feature flags inside your own network.

use std::process::ExitCode;

use flag_relay::{DAEMON, config::Config, export, saas, server, tool};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The allocator asks for large pages, and a small daemon would be ten megabytes larger; without this it is, and works.
    nix::sys::prctl::set_thp_disable(true).ok();
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
