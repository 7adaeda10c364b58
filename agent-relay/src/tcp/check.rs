//! Looks now and then whether servers in TCP mode can be connected to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use common::drain::Drain;
use tokio::time;

use super::front::{Back, Front};
use crate::queue::now_ms;

/// A check takes no longer, however seldom they are.
const PATIENCE: Duration = Duration::from_secs(5);

impl Front {
    /// Checks the servers that are to be checked, until the drain starts.
    pub(crate) async fn check(self: Arc<Self>, drain: Drain) {
        loop {
            let back = self.back();
            tokio::select! {
                () = drain.started() => return,
                () = time::sleep(back.spec.check_every) => {}
            }
            let back = self.back();
            for index in 0..back.spec.servers.len() {
                let (own, back) = (Arc::clone(&self), Arc::clone(&back));
                let until = drain.clone();
                drain.spawn(async move {
                    tokio::select! {
                        () = own.look(&back, index) => {}
                        () = until.started() => {}
                    }
                });
            }
        }
    }

    pub(super) async fn look(&self, back: &Back, index: usize) {
        let (Some(server), Some(counts)) = (back.spec.servers.get(index), back.counts.get(index)) else {
            return;
        };
        let Some(port) = server.check else { return };
        // A slow answer is waited for, instead of asking ever more often.
        let Some(_asking) = Asking::begin(&counts.is_checked) else { return };
        let most = back.spec.connect_time.min(PATIENCE);
        let connected = time::timeout(most, self.names.connect(&server.host, port)).await;
        let works = matches!(connected, Ok(Ok(_)));
        counts.checks_failed.fetch_add(u64::from(!works), Ordering::Relaxed);
        let (fall, rise) = (back.spec.fall, back.spec.rise);
        let turned = back.members().get_mut(index).is_some_and(|member| member.checked(works, fall, rise));
        if !turned {
            return;
        }
        counts.changed_ms.store(now_ms(), Ordering::Relaxed);
        let (backend, server) = (back.spec.backend.as_str(), server.name.as_str());
        if works {
            tracing::info!(backend, server, "a server is back");
        } else {
            counts.downs.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(backend, server, "a server is down");
        }
    }
}

/// A check that is on its way, until it is dropped.
struct Asking<'a>(&'a AtomicBool);

impl<'a> Asking<'a> {
    fn begin(flag: &'a AtomicBool) -> Option<Self> {
        (!flag.swap(true, Ordering::Relaxed)).then_some(Self(flag))
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
