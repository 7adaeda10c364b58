//! Pure. What of a connection's traffic means that somebody uses it.
//!
//! Bytes count, unless they are a small exchange like the ones before it, at the same interval as these:
//! that is a connection that only keeps itself alive (`ServerAliveInterval`, the ping of a pool).
//! When in doubt they count: it takes two such exchanges before a third one does not.

use common::relay::Side;

/// Two reads that are further apart belong to two exchanges.
const GAP_MS: u64 = 1_000;
/// Nobody keeps a connection alive more often than this.
const SHORTEST_PERIOD_MS: u64 = 2_000;
/// How much an interval may differ from the one before it, beside a tenth of it.
const SLACK_MS: u64 = 400;
/// How many kinds of such exchanges one connection may have: of the client's, of the server's, …
const HABITS: usize = 4;
/// How often in a row an exchange has to come at its interval before it is known for what it is.
const KNOWN_AFTER: u32 = 2;

/// What a protocol's exchanges that only keep a connection alive look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// The most bytes that each side says in one.
    pub bytes: u32,
    /// Whether both sides have to speak.
    pub both_speak: bool,
}

/// What was exchanged in one go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Burst {
    began_ms: u64,
    last_ms: u64,
    up: u64,
    down: u64,
}

/// An exchange that came more than once.
#[derive(Clone, Copy, Debug)]
struct Habit {
    up: u64,
    down: u64,
    last_ms: u64,
    period_ms: u64,
    in_a_row: u32,
}

impl Habit {
    fn is_due(&self, now_ms: u64) -> bool {
        let since = now_ms.saturating_sub(self.last_ms);
        since.abs_diff(self.period_ms) <= SLACK_MS + self.period_ms / 10
    }
}

/// Follows one connection.
#[derive(Debug)]
pub struct Meter {
    floor: Floor,
    burst: Option<Burst>,
    habits: Vec<Habit>,
    client_spoke: bool,
    last_counted_ms: Option<u64>,
}

impl Meter {
    /// Of a connection that nothing was said on.
    pub fn new(floor: Floor) -> Self {
        Self { floor, burst: None, habits: Vec::new(), client_spoke: false, last_counted_ms: None }
    }

    /// So many bytes came from this side; whether they count. Before the client has said something
    /// nothing does, so that one who only looks at a greeting keeps nothing awake.
    pub fn bytes(&mut self, now_ms: u64, from: Side, length: usize) -> bool {
        if self.burst.is_some_and(|burst| now_ms.saturating_sub(burst.last_ms) > GAP_MS) {
            self.close();
        }
        let burst = self.burst.get_or_insert(Burst { began_ms: now_ms, ..Burst::default() });
        burst.last_ms = now_ms;
        match from {
            Side::Client => burst.up += length as u64,
            Side::Server => burst.down += length as u64,
        }
        let burst = *burst;
        self.client_spoke |= from == Side::Client;
        let counts = self.client_spoke && !self.is_expected(burst);
        if counts {
            self.last_counted_ms = Some(now_ms);
        }
        counts
    }

    /// When something last counted.
    pub fn last_counted_ms(&self) -> Option<u64> {
        self.last_counted_ms
    }

    /// Whether this is, as far as it has come, the exchange that is due.
    fn is_expected(&self, burst: Burst) -> bool {
        self.habits.iter().any(|habit| {
            habit.in_a_row >= KNOWN_AFTER
                && habit.is_due(burst.began_ms)
                && burst.up <= habit.up
                && burst.down <= habit.down
        })
    }

    /// Learns from an exchange that is over.
    fn close(&mut self) {
        let Some(burst) = self.burst.take() else { return };
        let Floor { bytes, both_speak } = self.floor;
        if burst.up.max(burst.down) > bytes.into() || (both_speak && burst.up.min(burst.down) == 0) {
            return;
        }
        let same = |habit: &&mut Habit| habit.up == burst.up && habit.down == burst.down;
        if let Some(habit) = self.habits.iter_mut().find(same) {
            let period_ms = burst.began_ms.saturating_sub(habit.last_ms);
            let is_regular = period_ms >= SHORTEST_PERIOD_MS && habit.is_due(burst.began_ms);
            habit.in_a_row = if is_regular { habit.in_a_row + 1 } else { 1 };
            habit.period_ms = period_ms;
            habit.last_ms = burst.began_ms;
            return;
        }
        if self.habits.len() >= HABITS {
            let oldest = self.habits.iter().enumerate().min_by_key(|(_, habit)| habit.last_ms);
            if let Some((place, _)) = oldest {
                self.habits.swap_remove(place);
            }
        }
        let Burst { began_ms: last_ms, up, down, .. } = burst;
        self.habits.push(Habit { up, down, last_ms, period_ms: 0, in_a_row: 0 });
    }
}

#[cfg(test)]
mod tests;
