//! The plug-in program: lw_proxy starts it and speaks JSON lines with it.

use std::process::ExitCode;

use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Starts and stops what runs at Amazon for lw_proxy, which speaks JSON lines with it (docs/autostop-providers.md).
#[derive(clap::Parser)]
#[command(version)]
struct Arguments {}

fn main() -> ExitCode {
    Arguments::parse();
    autostop_provider_aws::serve()
}
