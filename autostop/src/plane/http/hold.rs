//! A request that waits, its body unread, until the target is ready or it has waited long enough.

use std::future;

use common::drain::Drain;
use tokio::{select, time};

use super::answer::Case;
use crate::plane::{
    gate::{Standing, Visit},
    plan::Preset,
    probe,
};

/// How waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// The target may be reached for.
    Through,
    /// It waited long enough.
    Late,
    /// It would wait in vain.
    InVain,
}

/// Waits.
pub(super) async fn hold(case: &Case, visit: &mut Visit, drain: &Drain) -> Held {
    let target = &case.route.target;
    let deadline = target.hold.patience.map(|patience| case.arrived + patience);
    let mut changes = visit.gate().changes();
    loop {
        if case.may_wake {
            visit.want();
        }
        match visit.look() {
            Standing::Through => return Held::Through,
            Standing::Failed | Standing::Closed => return Held::InVain,
            Standing::Wait => probe::begin(target, case.route.target_port, Preset::Tcp, drain),
        }
        let late = async {
            match deadline {
                Some(deadline) => time::sleep_until(deadline).await,
                None => future::pending().await,
            }
        };
        select! {
            // A sender lives in the gate, so this cannot fail.
            _ = changes.changed() => {}
            () = late => return Held::Late,
        }
    }
}
