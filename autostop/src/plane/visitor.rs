//! One connection or request at a target: who it is, what it carried, and whether that counts.

use std::{
    net::SocketAddr,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use common::relay::{Side, Tap};

use super::{
    activity::{Floor, Meter},
    transaction::Transaction,
};

/// One that carries nothing for so long does not count any more, whatever it holds open.
const HALF_DEAD_MS: u64 = 2 * 60 * 60 * 1000;
/// What has counted within this time counts, as far as a person wants to know.
const COUNTS_MS: u64 = 60_000;
const MINUTE_PARTS: usize = 6;
const PART_MS: u64 = 10_000;

/// Milliseconds since the plane started.
pub fn now_ms() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// What is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A connection: it counts while it moves.
    Connection,
    /// A request: it counts until its answer has ended.
    Request,
    /// A request that neither wakes nor keeps awake.
    Aside,
}

/// What is known of one.
#[derive(Debug)]
pub struct Visitor {
    /// What it is.
    pub kind: Kind,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// What it speaks.
    pub protocol: &'static str,
    /// What it asked for.
    pub detail: String,
    opened_ms: u64,
    tally: Mutex<Tally>,
}

#[derive(Debug)]
struct Tally {
    meter: Meter,
    transaction: Option<Transaction>,
    up: u64,
    down: u64,
    moved_ms: u64,
    minute: [u64; MINUTE_PARTS],
    part: u64,
}

/// What one has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    /// Bytes from the client.
    pub up: u64,
    /// Bytes from the server.
    pub down: u64,
    /// Bytes within the last minute or so.
    pub last_minute: u64,
    /// How long it is open.
    pub open_ms: u64,
    /// When it last counted, in the time of [`now_ms`].
    pub counted_ms: Option<u64>,
    /// Whether it counts now.
    pub counts: bool,
}

impl Visitor {
    /// One that has just come.
    pub fn new(
        kind: Kind,
        peer: SocketAddr,
        protocol: &'static str,
        detail: String,
        floor: Floor,
        follow_transactions: bool,
    ) -> Self {
        let now = now_ms();
        let tally = Tally {
            meter: Meter::new(floor),
            transaction: follow_transactions.then(Transaction::default),
            up: 0,
            down: 0,
            moved_ms: now,
            minute: [0; MINUTE_PARTS],
            part: now / PART_MS,
        };
        Self { kind, peer, protocol, detail, opened_ms: now, tally: Mutex::new(tally) }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These bytes passed.
    pub fn bytes(&self, from: Side, bytes: &[u8]) {
        let now = now_ms();
        let mut tally = self.tally();
        tally.moved(now, from, bytes.len());
        if let Some(transaction) = &mut tally.transaction {
            transaction.bytes(from, bytes);
        }
    }

    /// So many bytes passed.
    pub fn moved(&self, from: Side, length: usize) {
        self.tally().moved(now_ms(), from, length);
    }

    /// How it stands.
    pub fn sum(&self, now: u64) -> Sum {
        let mut tally = self.tally();
        tally.turn(now);
        let is_alive = now.saturating_sub(tally.moved_ms) < HALF_DEAD_MS;
        let holds = match self.kind {
            Kind::Request => true,
            Kind::Connection => tally.transaction.as_ref().is_some_and(Transaction::is_open),
            Kind::Aside => false,
        };
        let counted_ms = match self.kind {
            Kind::Aside => None,
            _ if holds && is_alive => Some(now),
            Kind::Request => Some(tally.moved_ms),
            Kind::Connection => tally.meter.last_counted_ms(),
        };
        Sum {
            up: tally.up,
            down: tally.down,
            last_minute: tally.minute.iter().sum(),
            open_ms: now.saturating_sub(self.opened_ms),
            counted_ms,
            counts: counted_ms.is_some_and(|counted| now.saturating_sub(counted) < COUNTS_MS),
        }
    }
}

impl Tally {
    fn moved(&mut self, now: u64, from: Side, length: usize) {
        self.turn(now);
        self.moved_ms = now;
        self.meter.bytes(now, from, length);
        match from {
            Side::Client => self.up += length as u64,
            Side::Server => self.down += length as u64,
        }
        if let Some(part) = self.minute.get_mut(part_of(self.part)) {
            *part += length as u64;
        }
    }

    /// Forgets what is older than a minute.
    fn turn(&mut self, now: u64) {
        let part = now / PART_MS;
        for passed in (self.part + 1..=part).take(MINUTE_PARTS) {
            if let Some(old) = self.minute.get_mut(part_of(passed)) {
                *old = 0;
            }
        }
        self.part = part.max(self.part);
    }
}

fn part_of(part: u64) -> usize {
    usize::try_from(part % MINUTE_PARTS as u64).unwrap_or_default()
}

/// The tap of a relayed connection.
pub struct Watching<'a>(pub &'a Visitor);

impl Tap for Watching<'_> {
    fn bytes(&mut self, from: Side, bytes: &[u8]) {
        self.0.bytes(from, bytes);
    }

    fn half_closed(&mut self, _: Side) {}

    /// A stop cannot know that a connection that is silent is not needed.
    fn is_idle(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: Floor = Floor { bytes: 100, both_speak: true };

    fn visitor(kind: Kind) -> Visitor {
        Visitor::new(kind, "127.0.0.1:1".parse().unwrap(), "tcp", String::new(), FLOOR, true)
    }

    #[test]
    fn a_request_counts_while_it_is_open_unless_it_is_half_dead_and_one_aside_never_does() {
        let request = visitor(Kind::Request);
        let now = now_ms();
        assert_eq!(request.sum(now + 60_000).counted_ms, Some(now + 60_000));
        assert!(request.sum(now + HALF_DEAD_MS + 1_000).counted_ms.unwrap() <= now);
        assert_eq!(visitor(Kind::Aside).sum(now).counted_ms, None);
    }

    #[test]
    fn a_session_inside_a_transaction_counts_though_it_is_silent() {
        let session = visitor(Kind::Connection);
        session.bytes(Side::Client, b"\0\0\0\x0f\0\x03\0\0user\0x\0");
        session.bytes(Side::Server, b"Z\0\0\0\x05T");
        let later = now_ms() + 600_000;
        assert_eq!(session.sum(later).counted_ms, Some(later));
        session.bytes(Side::Server, b"Z\0\0\0\x05I");
        assert!(session.sum(later).counted_ms.unwrap() < later);
    }

    #[test]
    fn bytes_of_the_last_minute_are_forgotten_after_it() {
        let connection = visitor(Kind::Connection);
        connection.moved(Side::Client, 70);
        let now = now_ms();
        assert_eq!(connection.sum(now).last_minute, 70);
        assert_eq!(connection.sum(now + 80_000).last_minute, 0);
        assert_eq!(connection.sum(now + 80_000).up, 70);
    }
}
