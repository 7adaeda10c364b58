//! `GET /status`, as install scripts and people know it.

use std::time::Instant;

use http::{Response, StatusCode};

use super::answer::page;
use crate::{queue::now_ms, relay::Relay, upstream::Body};

/// So many lines of the table at most.
const MOST_ROWS: usize = 1000;

/// The state of the queue; 503 when it is longer than `threshold`. The table has a line for each agent that waits, in
/// the columns of old: the number of its first request, what waits in all, how often that first one was tried, and
/// when it is tried next.
pub(super) fn status(relay: &Relay, query: &str, wants_json: bool) -> Response<Body> {
    let balance = relay.queue.balance();
    let threshold: Option<u64> = query
        .split('&')
        .find_map(|part| part.strip_prefix("threshold="))
        .and_then(|number| number.parse().ok());
    let is_long = threshold.is_some_and(|most| balance.queued > most);
    let status = if is_long { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    if wants_json {
        let text = serde_json::to_string(&balance).unwrap_or_default();
        return page(status, "application/json", text);
    }
    let (now, now_ms) = (Instant::now(), now_ms());
    let agents = relay.queue.agents();
    let waiting = (0_u32..).zip(&agents).filter(|(_, agent)| agent.queued() > 0).take(MOST_ROWS);
    let rows: String = waiting
        .map(|(number, agent)| {
            let tries = relay.tried(number);
            let wait = tries.map_or(0, |tries| tries.next.saturating_duration_since(now).as_secs());
            format!(
                "<tr><td>{number}-{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                agent.done.number + 1,
                agent.queued_bytes(),
                tries.map_or(0, |tries| tries.count),
                now_ms / 1000 + wait,
            )
        })
        .collect();
    let text = format!(
        "<!doctype html><html><head><title>agent-relay</title></head><body>\n\
         <p>{} transactions, {} bytes in the queue</p>\n\
         <table><tr><td>Id</td><td>Size</td><td>Error count</td><td>Next flush</td></tr>\n{rows}</table>\n\
         </body></html>\n",
        balance.queued,
        relay.queue.queued_bytes()
    );
    page(status, "text/html; charset=UTF-8", text)
}
