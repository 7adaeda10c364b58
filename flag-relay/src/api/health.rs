//! `/health`, in its documented shape and with more.

use http::StatusCode;
use serde_json::json;

use super::{Answer, Api};
use crate::source::standing::ConfigState;

impl Api {
    /// 500 only when there is nothing to serve at all: whoever serves what it had is well enough to be asked.
    pub(super) fn health(&self) -> Answer {
        let state = self.standing.now();
        let environments = self.store.world().environments.len();
        if state.config.state == ConfigState::FailedToSync && environments == 0 {
            return Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "internal error");
        }
        let told = json!({
            "configStatus": state.config,
            "streamStatus": state.stream,
            "cacheStatus": if state.is_cache_well { "healthy" } else { "unhealthy" },
            "environments": environments,
            // What exactly is the operator's to know, at the status.
            "problems": state.problems.into_keys().collect::<Vec<_>>(),
        });
        Answer::told(StatusCode::OK, &told)
    }
}
