//! A plug-in of lw_proxy that starts and stops what runs at Amazon: machines, scale groups, databases, container
//! services; and fetches certificates from its store of secrets.

pub mod access;
pub mod database;
pub mod failure;
pub mod group;
pub mod instance;
pub mod protocol;
pub mod secret;
pub mod service;
mod session;
pub mod state;
pub mod target;

use std::{io::Write as _, process::ExitCode};

use tokio::{io, runtime};

/// Serves whoever writes to stdin until that ends; 1 when that cannot be done.
pub fn serve() -> ExitCode {
    let served = runtime::Builder::new_current_thread().enable_all().build().and_then(|runtime| {
        let served = runtime.block_on(session::serve(io::BufReader::new(io::stdin()), io::stdout()));
        // A read of stdin that nobody waits for any more must not keep the process.
        runtime.shutdown_background();
        served
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With stderr gone as well there is nobody to tell.
            writeln!(std::io::stderr(), "the plug-in ends: {error}").ok();
            ExitCode::FAILURE
        }
    }
}
