//! Feature flags inside your own network.

use std::{
    env,
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
};

use flag_relay::{DAEMON, config::Config, export, saas, server, tool};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    without_large_pages();
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

/// The allocator asks for large pages before anything of ours runs, and a small daemon is megabytes larger for it. The
/// wish for none outlives an exec, so we begin once more under it; where that fails, we are larger, and that is all.
fn without_large_pages() {
    if nix::sys::prctl::get_thp_disable().unwrap_or(true) || nix::sys::prctl::set_thp_disable(true).is_err() {
        return;
    }
    let mut words = env::args_os();
    if let (Ok(own), Some(name)) = (env::current_exe(), words.next()) {
        // It returns only when it fails.
        drop(Command::new(own).arg0(name).args(words).exec());
    }
}
