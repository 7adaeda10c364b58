//! What people see on the port of the stats: the upstreams, and the fleet of agents.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use askama::Template;
use axum::{Router, extract::State, http::StatusCode, response::Response, routing::get};
use common::{
    door::Door,
    pages::{Frame, render},
    visible,
};

use super::{
    agents::{Told, told},
    board::{Board, UPSTREAMS, status},
};
use crate::queue::Balance;

/// The longest text of a stranger that a page shows, in characters.
const MOST_CHARACTERS: usize = 120;
/// So many agents are shown.
const MOST_AGENTS: usize = 1000;

/// One upstream, or one server in TCP mode.
struct Line {
    backend: String,
    name: String,
    address: String,
    status: &'static str,
    weight: u32,
    open: u64,
    total: u64,
    bytes: String,
    connect_errors: u64,
    response_errors: u64,
    retries: u64,
    check: String,
}

#[derive(Template)]
#[template(path = "upstreams.html")]
struct Upstreams {
    frame: Frame,
    balance: Balance,
    queued_bytes: String,
    dead_bytes: String,
    room_bytes: String,
    bound: &'static str,
    rate: String,
    budget: String,
    uptime: String,
    lines: Vec<Line>,
    held: Vec<String>,
}

/// One agent as the page has it.
struct Agent {
    name: String,
    version: String,
    seen: String,
    is_silent: bool,
    lag: String,
    queued: u64,
    queued_bytes: String,
    quota_percent: u64,
    accepted: u64,
    delivered: u64,
    dead_lettered: u64,
    refused: u64,
    error: String,
}

#[derive(Template)]
#[template(path = "agents.html")]
struct Agents {
    frame: Frame,
    agents: Vec<Agent>,
    count: usize,
    silent: usize,
    waiting: usize,
}

/// What the pages need. Clones share it.
#[derive(Clone)]
struct Pages {
    board: Arc<Board>,
    door: Door,
}

/// The pages, behind this door.
pub(super) fn router(board: Arc<Board>, door: Door) -> Router {
    let pages = Router::new().route("/", get(upstreams)).route("/agents", get(agents));
    pages.with_state(Pages { board, door })
}

/// `/`
async fn upstreams(State(Pages { board, door }): State<Pages>) -> Response {
    let outage = board.outage();
    let plan = board.relay.plan();
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let mut lines: Vec<Line> = plan
        .upstreams
        .iter()
        .map(|upstream| {
            let counts = &upstream.counts;
            Line {
                backend: UPSTREAMS.to_owned(),
                name: visible::short(upstream.spec.name.as_bytes(), MOST_CHARACTERS),
                address: visible::short(upstream.spec.base.authority().as_bytes(), MOST_CHARACTERS),
                status: status(upstream),
                weight: upstream.spec.weight,
                open: load(&counts.busy),
                total: load(&counts.requests),
                bytes: size(load(&counts.bytes_out)),
                connect_errors: load(&counts.connect_errors),
                response_errors: load(&counts.response_errors),
                retries: load(&counts.retries),
                check: upstream.check().map_or(String::new(), |check| {
                    format!("{} in {} ms", check.status, check.took.as_millis())
                }),
            }
        })
        .collect();
    for back in board.fronts.iter().map(|front| front.back()) {
        let members = back.members().clone();
        for ((server, member), counts) in back.spec.servers.iter().zip(&members).zip(&back.counts) {
            lines.push(Line {
                backend: visible::short(back.spec.backend.as_bytes(), MOST_CHARACTERS),
                name: visible::short(server.name.as_bytes(), MOST_CHARACTERS),
                address: format!(
                    "{}:{}",
                    visible::short(server.host.as_bytes(), MOST_CHARACTERS),
                    server.port
                ),
                status: member.status(),
                weight: member.weight,
                open: load(&counts.open),
                total: load(&counts.connections),
                bytes: size(load(&counts.bytes_in)),
                connect_errors: load(&counts.connect_errors),
                response_errors: load(&counts.response_errors),
                retries: load(&counts.retries),
                check: server.check.map_or(String::new(), |port| format!("port {port}")),
            });
        }
    }
    let name = |index: usize| plan.upstreams.get(index).map_or("?", |upstream| upstream.spec.name.as_str());
    let held = board.relay.holds().held().into_iter().take(100).map(|(upstream, path)| match path {
        Some(path) => {
            format!("{} refuses {}", name(upstream), visible::short(path.as_bytes(), MOST_CHARACTERS))
        }
        None => format!("{} refuses a key", name(upstream)),
    });
    let page = Upstreams {
        frame: door.frame("upstreams"),
        balance: board.relay.queue.balance(),
        queued_bytes: size(board.relay.queue.queued_bytes()),
        dead_bytes: size(board.relay.queue.dead_bytes()),
        room_bytes: size(outage.room_bytes),
        bound: outage.bound,
        rate: outage
            .bytes_per_second
            .map_or("not known yet".to_owned(), |rate| format!("{} a second", whole(rate))),
        budget: match (outage.bytes_per_second, outage.seconds) {
            (None, _) => "not known yet".to_owned(),
            (Some(_), None) => "no end in sight".to_owned(),
            (Some(_), Some(seconds)) => span(seconds),
        },
        uptime: span(board.uptime().as_secs()),
        lines,
        held: held.collect(),
    };
    render(StatusCode::OK, &page)
}

/// `/agents`
async fn agents(State(Pages { board, door }): State<Pages>) -> Response {
    let told = told(&board);
    let most = board.quota().agent_bytes.max(1);
    let silent = told.iter().filter(|agent| is_silent(agent)).count();
    let waiting = told.iter().filter(|agent| agent.balance.queued > 0).count();
    let count = told.len();
    let short = |text: &str| visible::short(text.as_bytes(), MOST_CHARACTERS);
    let agents = told.into_iter().take(MOST_AGENTS).map(|agent| Agent {
        is_silent: is_silent(&agent),
        name: short(agent.behind.as_deref().unwrap_or(&agent.name)),
        version: short(&agent.version),
        seen: agent
            .silent_s
            .map_or("not since the start".to_owned(), |seconds| format!("{} ago", span(seconds))),
        lag: agent.lag_ms.map_or(String::new(), |lag| span(lag / 1000)),
        queued: agent.balance.queued,
        queued_bytes: size(agent.queued_bytes),
        quota_percent: agent.queued_bytes * 100 / most,
        accepted: agent.balance.accepted,
        delivered: agent.balance.delivered,
        dead_lettered: agent.balance.dead_lettered,
        refused: agent.refused,
        error: short(agent.last_error.as_deref().unwrap_or_default()),
    });
    let frame = door.frame("agents");
    render(StatusCode::OK, &Agents { frame, agents: agents.collect(), count, silent, waiting })
}

/// An agent sends every fifteen seconds at least; this one has not for a while.
fn is_silent(agent: &Told) -> bool {
    agent.silent_s.is_none_or(|seconds| seconds > 120)
}

fn whole(number: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is neither negative nor large"
    )]
    size(number as u64)
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0);
    format!("{value:.digits$} {}", UNITS.get(unit).copied().unwrap_or_default())
}

/// A time for people, in its two largest units.
fn span(seconds: u64) -> String {
    let whole = match seconds {
        0..=3599 => seconds,
        3600..=86_399 => seconds / 60 * 60,
        _ => seconds / 3600 * 3600,
    };
    humantime::format_duration(Duration::from_secs(whole)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_for_people() {
        assert_eq!([size(0), size(1023), size(1536), size(5 << 30)], ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
        assert_eq!([span(0), span(61), span(3725), span(90_000)], ["0s", "1m 1s", "1h 2m", "1day 1h"]);
    }
}
