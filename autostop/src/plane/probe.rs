//! Finds out when a waking target is ready: one search for all who wait for the same port.

use std::{sync::Arc, time::Duration};

use common::drain::Drain;
use tokio::time::{self, Instant};

use super::{
    gate::Gate,
    plan::{Preset, Target},
    ready::{Check, is_ready},
};

/// How often it is looked at first, and for how long so often.
const OFTEN: Duration = Duration::from_millis(50);
const OFTEN_FOR: Duration = Duration::from_secs(60);
/// Later, still often enough that nobody waits 100 ms for nothing: most machines take longer than that to wake.
const SELDOM: Duration = Duration::from_millis(80);

/// Begins the search, unless somebody searches already or there is nothing to look for.
pub(super) fn begin(target: &Arc<Target>, port: u16, preset: Preset, drain: &Drain) {
    if target.gate.begin_probe(port) {
        let check = Check { port, preset, health: target.health.clone() };
        let search = search(Arc::clone(&target.gate), check);
        let drain_own = drain.clone();
        drain.spawn_own(async move {
            tokio::select! {
                () = search => {}
                () = drain_own.insisted() => {}
            }
        });
    }
}

async fn search(gate: Arc<Gate>, check: Check) {
    let port = check.port;
    let started = Instant::now();
    let mut pause = OFTEN;
    while let Some(places) = gate.probe(port) {
        let looked = Instant::now();
        for place in places.iter() {
            if is_ready(place, &check).await {
                tracing::info!(rule = gate.rule_id(), at = place.at(port), "target is ready");
                gate.answered(port, &places);
                break;
            }
        }
        if started.elapsed() > OFTEN_FOR {
            pause = SELDOM;
        }
        time::sleep_until(looked + pause).await;
    }
}
