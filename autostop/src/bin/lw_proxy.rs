//! Stops machines that nobody uses and starts them when somebody comes.

use std::process::ExitCode;

use autostop::{LW_PROXY, command::line, config, control};
use common::memory;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    memory::in_few_pages();
    let matches = match LW_PROXY.matches(line::with_commands(config::command(&LW_PROXY))) {
        Ok(matches) => matches,
        Err(done) => return done,
    };
    if matches.subcommand().is_some() {
        return line::run(&matches);
    }
    let serve = |start, drain| control::serve(matches.clone(), start, drain);
    LW_PROXY.run(&matches, control::Start::resolve, serve)
}
