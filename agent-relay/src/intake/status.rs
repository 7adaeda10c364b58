//! `GET /status`, as install scripts and people know it.

use http::{Response, StatusCode};

use super::answer::page;
use crate::{queue::Queue, upstream::Body};

/// The state of the queue; 503 when it is longer than `threshold`.
pub(super) fn status(queue: &Queue, query: &str, wants_json: bool) -> Response<Body> {
    let balance = queue.balance();
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
    let rows: String = queue
        .agents()
        .iter()
        .filter(|agent| agent.queued() > 0)
        .take(100)
        .map(|agent| {
            format!(
                "<tr><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                agent.name,
                agent.queued(),
                agent.queued_bytes()
            )
        })
        .collect();
    let text = format!(
        "<!doctype html><html><head><title>agent-relay</title></head><body>\n\
         <p>{} transactions, {} bytes in the queue</p>\n\
         <table><tr><th>Agent</th><th>Transactions</th><th>Size</th></tr>\n{rows}</table>\n</body></html>\n",
        balance.queued,
        queue.queued_bytes()
    );
    page(status, "text/html; charset=UTF-8", text)
}
