//! What is told of a target: how many are there, when it was last used, and by whom.

use std::cmp::Reverse;

use super::Gate;
use crate::{plane::visitor::now_ms, wire};

/// How many holders are named.
const HOLDERS: usize = 8;

/// Who is there at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that went through.
    pub open_connections: u32,
    /// Requests that went through and whose answer has not ended.
    pub open_requests: u32,
    /// Connections and requests that wait.
    pub parked: u32,
}

/// The counts, and all that goes with them.
pub type Report = wire::TargetActivity;

impl Gate {
    /// How long nothing counted.
    pub fn idle_ms(&self) -> u64 {
        self.report().idle_ms
    }

    /// How the target stands.
    pub fn report(&self) -> Report {
        let now = now_ms();
        let inside = self.inside();
        let mut sums: Vec<_> = inside.open.iter().map(|(_, visitor)| (visitor.sum(now), visitor)).collect();
        let active = sums.iter().filter_map(|(sum, _)| sum.counted_ms).max().unwrap_or_default();
        let (up, down) = sums.iter().fold((0, 0), |(up, down), (sum, _)| (up + sum.up, down + sum.down));
        sums.sort_unstable_by_key(|(sum, _)| Reverse((sum.counts, sum.last_minute)));
        let holders = sums.iter().take(HOLDERS).map(|(sum, visitor)| wire::Holder {
            peer: visitor.peer.to_string(),
            protocol: visitor.protocol.to_owned(),
            detail: visitor.detail.clone(),
            open_ms: sum.open_ms,
            bytes_last_minute: sum.last_minute,
            counts: sum.counts,
        });
        Report {
            rule_id: self.rule_id().to_owned(),
            open_connections: inside.counts.open_connections,
            open_requests: inside.counts.open_requests,
            parked: inside.counts.parked,
            idle_ms: now.saturating_sub(active.max(inside.active_ms)),
            bytes_up: inside.bytes_up + up,
            bytes_down: inside.bytes_down + down,
            holders: holders.collect(),
        }
    }
}
