//! The link to the control plane: away as long as it must be, and back on its own. What was heard last
//! holds meanwhile.

mod session;

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use common::{admin::Readiness, backoff::Backoff, quiet::Quiet};
use tokio::time;

use self::session::Session;
use super::{Plane, Settings, last::Drains};

/// What the plane waits for before it is ready.
pub(super) const PLAN: &str = "the plan of the control plane";

const FIRST_WAIT: Duration = Duration::from_millis(100);
/// A control plane that is away no longer than this only starts, or starts again.
const RESTART: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Keeps the link up for as long as it is polled.
pub(super) async fn run(
    settings: &Settings,
    plane: &Arc<Plane>,
    readiness: &Readiness,
    drains: Option<&Drains>,
) -> Infallible {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let quiet = Quiet::new(Duration::from_secs(30));
    let epoch = fastrand::u64(1..);
    let mut away_since = Instant::now();
    let mut roles = plane.role.subscribe();
    loop {
        let mut attached = false;
        let role = roles.borrow_and_update().clone();
        let session = Session {
            settings,
            plane,
            readiness,
            drains,
            epoch,
            role,
            backoff: &mut backoff,
            attached: &mut attached,
        };
        let Err(error) = tokio::select! {
            ended = session.run() => ended,
            _ = roles.changed() => continue,
        };
        plane.metrics.link_failures.inc();
        if attached {
            away_since = Instant::now();
        }
        if away_since.elapsed() < RESTART {
            tracing::debug!(addr = settings.control, error = format!("{error:#}"), "no control plane yet");
        } else if let Some(suppressed) = quiet.speak(Instant::now()) {
            let (addr, error) = (&settings.control, format!("{error:#}"));
            tracing::warn!(addr, error, suppressed, "no control plane; what it said last holds");
        }
        time::sleep(backoff.wait(fastrand::f64())).await;
    }
}
