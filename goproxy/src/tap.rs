//! Shows the bytes of one connection to its decoder, and what the decoder finds to the queue and the log.
//!
//! A decoder that panics takes nothing with it: the connection goes on as an opaque stream.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use common::{
    exchange::{Connection, End, Exchange, Protocol},
    quiet::Quiet,
    relay,
    wire::{DropReason, Opening},
};

use crate::{
    decode::{Limits, Lost, Output, Side},
    dissect::Dissector,
    metrics::Metrics,
    queue::Queue,
    redaction::Redaction,
};

/// Where every tap of a proxy puts what it finds.
#[derive(Clone)]
pub struct Outlet {
    /// Towards the forwarder.
    pub queue: Arc<Queue>,
    /// The way into the queue.
    pub redaction: Redaction,
    /// Counts what went wrong.
    pub metrics: Arc<Metrics>,
    /// How much of an exchange is kept.
    pub limits: Limits,
}

/// The tap of one connection. Dropped before [`Tap::end`], it ends what is open as cut.
pub struct Tap {
    dissector: Option<Dissector>,
    found: Found,
}

/// How much of a request target is logged.
const LOGGED_URL: usize = 2048;

struct Found {
    outlet: Outlet,
    connection: Connection,
    opening: Opening,
    /// Capture memory that this connection holds.
    held: usize,
    /// Whether the log wants to know what is found.
    debug: bool,
    accepted: Instant,
    /// When the decoder was shown the bytes that it now looks at.
    asked: Option<Instant>,
}

/// Nanoseconds since the Unix epoch.
pub fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Tap {
    /// The tap of a connection that begins; `accepted` is when, for the log.
    pub fn new(outlet: Outlet, connection: Connection, accepted: Instant) -> Self {
        let dissector = Some(Dissector::new(outlet.limits));
        let debug = tracing::enabled!(tracing::Level::DEBUG);
        let opening = Opening::from(&connection);
        Self {
            dissector,
            found: Found { outlet, connection, opening, held: 0, debug, accepted, asked: None },
        }
    }

    /// The connection is over; what is open ended this way.
    pub fn end(mut self, end: End) {
        self.finish(end);
    }

    fn finish(&mut self, end: End) {
        self.guarded(|dissector, found| dissector.finish(end, now_ns(), found));
        self.dissector = None;
        self.found.let_go();
    }

    fn guarded(&mut self, work: impl FnOnce(&mut Dissector, &mut Found)) {
        let Some(dissector) = &mut self.dissector else { return };
        let found = &mut self.found;
        if catch_unwind(AssertUnwindSafe(|| work(dissector, found))).is_ok() {
            return;
        }
        found.outlet.metrics.decoder_failures.inc();
        static QUIET: Quiet = Quiet::new(Duration::from_secs(10));
        if let Some(suppressed) = QUIET.speak(Instant::now()) {
            tracing::error!(
                cid = found.connection.number,
                suppressed,
                "decoder failed, the rest of the connection is opaque"
            );
        }
        let replaced = catch_unwind(AssertUnwindSafe(|| dissector.give_up(found)));
        if replaced.is_err() {
            self.dissector = None;
            found.let_go();
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.finish(End::Cut);
    }
}

impl relay::Tap for Tap {
    fn bytes(&mut self, from: Side, bytes: &[u8]) {
        self.found.asked = self.found.debug.then(Instant::now);
        self.guarded(|dissector, found| dissector.bytes(from, bytes, now_ns(), found));
    }

    fn half_closed(&mut self, from: Side) {
        self.guarded(|dissector, found| dissector.half_closed(from, now_ns(), found));
    }

    fn is_idle(&self) -> bool {
        self.dissector.as_ref().is_some_and(Dissector::is_idle)
    }
}

impl Found {
    /// Gives back what this connection still holds of the capture memory.
    fn let_go(&mut self) {
        self.outlet.queue.budget().give(std::mem::take(&mut self.held));
    }

    fn peers(&self) -> (String, String) {
        let direct = self.connection.upstream.map(|address| address.to_string());
        (self.connection.downstream.to_string(), direct.unwrap_or_default())
    }
}

impl Output for Found {
    fn protocol(&mut self, protocol: Protocol) {
        if !self.debug {
            return;
        }
        let (remote, direct) = self.peers();
        let cid = self.connection.number;
        let name = match protocol {
            Protocol::Http1 => "HTTP".to_owned(),
            other => other.as_str().to_uppercase(),
        };
        let checked = format!("{:?}", self.asked.map(|asked| asked.elapsed()).unwrap_or_default());
        let setup = format!("{:?}", self.accepted.elapsed());
        tracing::debug!(
            remoteAddr = remote,
            directAddr = direct,
            cid,
            duration = checked,
            "CheckProtocol duration"
        );
        tracing::debug!(remoteAddr = remote, directAddr = direct, cid, protocol = name, "Detected protocol");
        tracing::debug!(
            remoteAddr = remote,
            directAddr = direct,
            cid,
            duration = setup,
            "ProxyAndDecode setup duration"
        );
    }

    fn request(&mut self, index: u64, target: &[u8]) {
        if self.debug {
            let (remote, direct) = self.peers();
            let target = self.outlet.redaction.target(target.get(..LOGGED_URL).unwrap_or(target));
            let url = String::from_utf8_lossy(&target).into_owned();
            let cid = self.connection.number;
            tracing::debug!(
                remoteAddr = remote,
                directAddr = direct,
                cid,
                sequenceNum = index,
                url,
                "HTTP REQUEST"
            );
        }
    }

    fn response(&mut self, index: u64, body_bytes: u64) {
        if self.debug {
            let (remote, direct) = self.peers();
            let cid = self.connection.number;
            tracing::debug!(
                remoteAddr = remote,
                directAddr = direct,
                cid,
                sequenceNum = index,
                responseLength = body_bytes,
                "HTTP RESPONSE"
            );
        }
    }

    fn exchange(&mut self, exchange: Exchange, reserved: usize) {
        self.held -= reserved;
        self.outlet.redaction.offer(&self.opening, exchange, reserved);
    }

    fn lost(&mut self, _index: u64, why: Lost) {
        self.outlet.queue.lost(match why {
            Lost::Memory => DropReason::Memory,
            Lost::Decoder => DropReason::Decoder,
        });
    }

    fn reserve(&mut self, bytes: usize) -> bool {
        let granted = self.outlet.queue.budget().take(bytes);
        if granted {
            self.held += bytes;
        }
        granted
    }

    fn release(&mut self, bytes: usize) {
        self.held -= bytes;
        self.outlet.queue.budget().give(bytes);
    }
}

#[cfg(test)]
mod tests {
    use common::{exchange::Finding, relay::Tap as _};

    use super::*;
    use crate::queue::Counts;

    #[test]
    fn a_decoder_that_fails_loses_its_open_exchange_and_nothing_else() {
        let queue = Arc::new(Queue::new(1 << 20, 1));
        let metrics = Arc::new(Metrics::default());
        let limits = Limits { head: 1 << 10, body: 1 << 10 };
        let (redaction, _end) = Redaction::start(Arc::clone(&queue), Arc::clone(&metrics), None).unwrap();
        let outlet = Outlet { queue: Arc::clone(&queue), redaction, metrics: Arc::clone(&metrics), limits };
        let connection = Connection {
            number: 0,
            accepted_at_ns: 1,
            downstream: ([127, 0, 0, 1], 1).into(),
            upstream: None,
        };
        let mut tap = Tap::new(outlet, connection, Instant::now());
        tap.bytes(Side::Client, b"GET /a HTTP/1.1\r\n\r\n");
        tap.bytes(Side::Server, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        tap.bytes(Side::Client, b"GET /b HTTP/1.1\r\nHost:");
        tap.guarded(|_, _| panic!("a decoder"));
        tap.bytes(Side::Client, b" shop\r\n\r\n");
        tap.bytes(Side::Server, b"HTTP/1.1 200 OK\r\n\r\n");
        assert!(!tap.is_idle(), "a stop does not close what is no longer understood");
        tap.end(End::Complete);

        let counts = Counts { seen: 3, in_flight: 2, dropped_decoder: 1, ..Counts::default() };
        assert_eq!(queue.counts(), counts);
        assert_eq!(metrics.decoder_failures.get(), 1);
        let stored = queue.next("p", true).unwrap().decode_exchanges().unwrap();
        let [(_, _, whole), (_, _, rest)] = stored.as_slice() else { panic!("{stored:?}") };
        assert_eq!((whole.protocol, whole.end), (Protocol::Http1, End::Complete));
        assert_eq!(rest.findings, [Finding::DecoderFailed]);
        assert_eq!(rest.request.wire_bytes, 9);
        queue.acknowledge(2);
        assert_eq!(queue.budget().used(), 0);
    }
}
