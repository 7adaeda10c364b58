//! Asks upstreams now and then how they are, those that have a path for that.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::drain::Drain;
use http::Request;
use tokio::time;

use super::Relay;
use crate::upstream::{Check, Counts, Error, Progress, Upstream, whole};

/// How often.
const EVERY: Duration = Duration::from_secs(5);

impl Relay {
    /// Checks whatever upstreams there are, until the drain starts.
    pub(crate) async fn check(self: Arc<Self>, drain: Drain) {
        loop {
            tokio::select! {
                () = drain.started() => return,
                () = time::sleep(EVERY) => {}
            }
            let plan = self.plan();
            let patience = plan.patience.min(EVERY);
            for upstream in plan.upstreams.iter().filter(|upstream| upstream.spec.health.is_some()) {
                let (own, upstream) = (Arc::clone(&self), Arc::clone(upstream));
                let until = drain.clone();
                drain.spawn(async move {
                    tokio::select! {
                        () = own.ask(&upstream, patience) => {}
                        () = until.started() => {}
                    }
                });
            }
        }
    }

    async fn ask(&self, upstream: &Upstream, patience: Duration) {
        let Some(path) = upstream.spec.health.as_deref() else { return };
        let progress = Progress::default();
        let mut make = || {
            let mut request = Request::new(whole(Bytes::new(), progress.clone()));
            upstream.address(&mut request, path, "");
            Some(request)
        };
        let asked = Instant::now();
        let told = upstream.send(true, &progress, &mut make, patience).await;
        let took = asked.elapsed();
        let (status, code, reason) = match told {
            Ok((response, _)) if response.status().as_u16() < 400 => {
                ("L7OK", response.status().as_u16(), None)
            }
            Ok((response, _)) => {
                let code = response.status().as_u16();
                ("L7STS", code, Some(format!("its check is answered {code}")))
            }
            Err(error) => {
                let status = match &error {
                    Error::Connect(_) => "L4CON",
                    Error::Late => "L4TOUT",
                    Error::Send(_) => "L7RSP",
                };
                (status, 0, Some(format!("its check fails: {error}")))
            }
        };
        upstream.note_check(Check { status, code, took });
        match reason {
            Some(reason) => {
                Counts::add(&upstream.counts.checks_failed, 1);
                self.down(upstream, None, &reason);
            }
            None if upstream.breaker().checked(Instant::now()) => self.is_back(upstream),
            None => {}
        }
    }
}
