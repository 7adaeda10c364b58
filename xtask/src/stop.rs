//! Ctrl-C, and being told to end, as a flag that long tasks look at.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

/// How long between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(20);

/// Whether SIGINT, SIGTERM or SIGHUP came. From its making on, these signals end nothing by themselves.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn on_signals() -> Result<Self> {
        let stop = Self::default();
        let asked = stop.0.clone();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut int, mut term, mut hangup) = {
            let _inside = runtime.enter();
            let listen = |kind| signal(kind).context("listen for signals");
            (
                listen(SignalKind::interrupt())?,
                listen(SignalKind::terminate())?,
                listen(SignalKind::hangup())?,
            )
        };
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = int.recv() => {}
                    _ = term.recv() => {}
                    _ = hangup.recv() => {}
                }
            });
            asked.store(true, Ordering::Relaxed);
            // The runtime lives on, so that a second signal does not end us among half-stopped children.
            runtime.block_on(std::future::pending::<()>());
        });
        Ok(stop)
    }

    pub(crate) fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Asks until it is so; an error when stopped, when time is up, or when `condition` itself fails.
    pub(crate) fn wait_for(
        &self,
        what: &str,
        timeout: Duration,
        mut condition: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let start = Instant::now();
        while !condition()? {
            if self.asked() {
                bail!("stopped while waiting for {what}");
            }
            if start.elapsed() > timeout {
                bail!("{what}: not within {timeout:?}");
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }
}
