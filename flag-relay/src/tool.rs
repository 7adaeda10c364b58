//! The commands beside the daemon.

use clap::Command;

/// The daemon's command line with the other commands.
pub fn command() -> Command {
    crate::DAEMON.command()
}
