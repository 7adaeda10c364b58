//! The data plane of autostop: carries HTTP and TCP to what may be asleep.

use std::process::ExitCode;

use autostop::{
    LW_TCP_PROXY,
    config::{self, Config},
    plane,
};
use common::memory;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    memory::in_small_pages();
    match LW_TCP_PROXY.matches(config::command(&LW_TCP_PROXY)) {
        Ok(matches) => LW_TCP_PROXY.run(&matches, Config::data_plane, plane::run),
        Err(done) => done,
    }
}
