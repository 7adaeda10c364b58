//! What is told of each agent: its lanes together, and those that are silent longest first.

use std::collections::BTreeMap;

use serde::Serialize;

use super::board::Board;
use crate::{
    queue::{Agent, Balance, now_ms},
    relay::is_aside,
};

/// One agent.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Told {
    #[serde(rename = "agent")]
    pub(super) name: String,
    /// The name that the relay before this one has for it.
    pub(super) behind: Option<String>,
    pub(super) version: String,
    pub(super) last_seen_ms: Option<u64>,
    pub(super) silent_s: Option<u64>,
    /// How old the first request is that waits, or how long the last one waited.
    pub(super) lag_ms: Option<u64>,
    /// Answered with 503, to be sent again.
    pub(super) refused: u64,
    /// Given up since the start.
    pub(super) rejected: u64,
    pub(super) last_error: Option<String>,
    pub(super) queued_bytes: u64,
    pub(super) quota_bytes: u64,
    pub(super) balance: Balance,
}

/// The first three words of a name: those of the agent whose lane it is.
fn owner(name: &str) -> &str {
    let end = name.match_indices(' ').nth(2).map_or(name.len(), |(at, _)| at);
    name.get(..end).unwrap_or(name)
}

/// Every agent that ever sent something.
pub(super) fn told(board: &Board) -> Vec<Told> {
    let now = now_ms();
    let quota_bytes = board.quota().agent_bytes;
    let lanes = board.relay.queue.agents();
    let mut agents: BTreeMap<&str, Vec<&Agent>> = BTreeMap::new();
    for lane in &lanes {
        let owner = if is_aside(&lane.name) { owner(&lane.name) } else { &lane.name };
        agents.entry(owner).or_default().push(lane);
    }
    let mut told: Vec<Told> = agents
        .into_iter()
        .map(|(name, lanes)| {
            let seen = board.relay.fleet.seen(name).unwrap_or_default();
            let balance = Balance::sum(lanes.iter().copied());
            let oldest = lanes.iter().filter(|lane| lane.queued() > 0);
            let oldest = oldest.filter_map(|lane| board.relay.fleet.seen(&lane.name)?.first_ms).min();
            let waits = oldest.map(|first| now.saturating_sub(first));
            Told {
                name: name.to_owned(),
                behind: seen.behind,
                version: seen.version,
                last_seen_ms: (seen.last_seen_ms > 0).then_some(seen.last_seen_ms),
                silent_s: (seen.last_seen_ms > 0).then(|| now.saturating_sub(seen.last_seen_ms) / 1000),
                lag_ms: if balance.queued > 0 { waits } else { seen.lag_ms },
                refused: seen.refused,
                rejected: seen.rejected,
                last_error: seen.last_error,
                queued_bytes: lanes.iter().map(|lane| lane.queued_bytes()).sum(),
                quota_bytes,
                balance,
            }
        })
        .collect();
    told.sort_by_key(|agent| agent.last_seen_ms.unwrap_or(0));
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_of_a_path_belongs_to_its_agent() {
        assert_eq!(owner("10.0.0.7 web-1 0f /api/v2/logs"), "10.0.0.7 web-1 0f");
        assert_eq!(owner("10.0.0.7 web-1 0f"), "10.0.0.7 web-1 0f");
        assert_eq!(owner(""), "");
    }
}
