//! Waiting for something to become so, never for a time to pass.

use std::{
    fmt::Display,
    thread,
    time::{Duration, Instant},
};

/// How long anything may take here before it counts as not happening.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `look` finds something.
///
/// # Panics
/// When it does not within [`PATIENCE`], with what was waited for.
pub fn wait_for<T>(what: impl Display, look: impl FnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, look)
}

/// Waits until `look` finds something, within a time of its own.
///
/// # Panics
/// When it does not, with what was waited for.
pub fn wait_within<T>(patience: Duration, what: impl Display, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} for {what}");
        // Sleeps: between two looks at the condition.
        thread::sleep(Duration::from_millis(20));
    }
}
