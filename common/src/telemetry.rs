//! Logs: to the journal under systemd, as text on a terminal, as JSON everywhere else.

mod json;

use std::{
    env,
    io::{self, IsTerminal as _},
    os::fd::AsFd as _,
    panic,
};

pub use json::Layout;
use tracing::Level;
use tracing_subscriber::{
    Layer as _, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// Starts logging for the whole process; call it once.
///
/// `level` is one of trace, debug, info, warn, error. The libraries beneath speak from warn upwards
/// only, so that debug is about connections and not about HTTP/2 frames.
pub fn init(level: Level, layout: Layout) {
    let own = ["agent_relay", "autostop", "common", "flag_relay", "forwarder", "goproxy"]
        .map(|target| (target, level));
    // The client of Redis warns of every connection of a cluster that breaks; whoever uses it tells of it once.
    let quiet = ("redis", level.min(Level::ERROR));
    let filter = Targets::new().with_default(level.min(Level::WARN)).with_targets(own).with_targets([quiet]);
    let registry = tracing_subscriber::registry();
    if let Some(journal) = journal() {
        registry.with(journal.with_filter(filter)).init();
    } else if io::stderr().is_terminal() {
        let text = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false);
        registry.with(text.with_filter(filter)).init();
    } else {
        registry.with(json::JsonLines::new(layout, io::stderr).with_filter(filter)).init();
    }
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic: {}", info.payload_as_str().unwrap_or("no message"));
    }));
}

/// The journal, when stderr is connected to it as `JOURNAL_STREAM` says (systemd.exec(5)).
fn journal() -> Option<tracing_journald::Layer> {
    let told = env::var("JOURNAL_STREAM").ok()?;
    let stderr = nix::sys::stat::fstat(io::stderr().as_fd()).ok()?;
    (told == format!("{}:{}", stderr.st_dev, stderr.st_ino)).then(tracing_journald::layer)?.ok()
}
