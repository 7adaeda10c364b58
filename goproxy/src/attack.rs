//! What the fuzzers call with bytes of their choice; the ordinary tests call it too.
//!
//! A conversation is played whole and cut up, and the laws that hold for any bytes are checked.

use bytes::Bytes;
use common::exchange::{End, Exchange, Message, Protocol};

use crate::decode::{Limits, Lost, Output, Side};
use crate::dissect::Dissector;

mod laws;
mod script;
mod secrets;

pub use laws::{bytes_of, check};
pub use script::{conversation, cut};
pub use secrets::redact;

/// Something that happens on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// These bytes were read from this side.
    Bytes(Side, Vec<u8>),
    /// This side sent its end.
    HalfClosed(Side),
}

/// Remembers what a decoder puts out, and grants memory up to a budget.
#[derive(Debug)]
pub struct Record {
    /// What was put out, in order.
    pub exchanges: Vec<Exchange>,
    /// What was lost.
    pub lost: Vec<(u64, Lost)>,
    /// The announced requests with their targets.
    pub requests: Vec<(u64, Vec<u8>)>,
    /// The announced responses with the content they had.
    pub responses: Vec<(u64, u64)>,
    /// The protocol at the end.
    pub protocol: Option<Protocol>,
    /// What is granted and not yet released.
    pub reserved: usize,
    /// The most that was.
    pub most_reserved: usize,
    /// The most that may be.
    pub budget: usize,
}

impl Record {
    /// Grants so many bytes at most.
    pub fn new(budget: usize) -> Self {
        Self {
            exchanges: Vec::new(),
            lost: Vec::new(),
            requests: Vec::new(),
            responses: Vec::new(),
            protocol: None,
            reserved: 0,
            most_reserved: 0,
            budget,
        }
    }
}

impl Output for Record {
    fn protocol(&mut self, _: Protocol) {}

    fn request(&mut self, index: u64, target: &[u8]) {
        self.requests.push((index, target.to_vec()));
    }

    fn response(&mut self, index: u64, body_bytes: u64) {
        self.responses.push((index, body_bytes));
    }

    fn exchange(&mut self, exchange: Exchange, reserved: usize) {
        let kept = |message: &Message| message.head.len() + message.body.len() + message.trailers.len();
        let bytes = kept(&exchange.request) + exchange.response.as_ref().map_or(0, kept);
        let heads: usize =
            exchange.informational.iter().map(|head| head.len() + 2 * size_of::<Bytes>()).sum();
        let holds = if exchange.protocol == Protocol::Http1 { size_of::<Exchange>() } else { 0 };
        assert_eq!(reserved, bytes + heads + holds, "not what it holds: {exchange:?}");
        self.exchanges.push(exchange);
        self.release(reserved);
    }

    fn lost(&mut self, index: u64, why: Lost) {
        self.lost.push((index, why));
    }

    fn reserve(&mut self, bytes: usize) -> bool {
        if self.reserved + bytes > self.budget {
            return false;
        }
        self.reserved += bytes;
        self.most_reserved = self.most_reserved.max(self.reserved);
        true
    }

    fn release(&mut self, bytes: usize) {
        assert!(bytes <= self.reserved, "{bytes} released of {}", self.reserved);
        self.reserved -= bytes;
    }
}

/// Plays the events to a new dissector, a nanosecond apart, and ends the connection.
pub fn play(events: &[Event], end: End, limits: Limits, budget: usize) -> Record {
    let mut record = Record::new(budget);
    let mut dissector = Dissector::new(limits);
    let mut now_ns = 0;
    for event in events {
        now_ns += 1;
        match event {
            Event::Bytes(from, bytes) => dissector.bytes(*from, bytes, now_ns, &mut record),
            Event::HalfClosed(from) => dissector.half_closed(*from, now_ns, &mut record),
        }
    }
    record.protocol = dissector.protocol();
    dissector.finish(end, now_ns + 1, &mut record);
    record
}

/// An HTTP/1 connection of the attacker's choice: the laws must hold, whole and cut up.
pub fn http1(bytes: &[u8]) {
    let (events, end, seed) = conversation(bytes);
    check(&events, end, seed);
}

/// A connection that begins with anything at all, from either side.
pub fn sniff(bytes: &[u8]) {
    let (seed, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let (client, server) = rest.split_at(usize::from(*seed).min(rest.len()));
    let mut events =
        vec![Event::Bytes(Side::Client, client.to_vec()), Event::Bytes(Side::Server, server.to_vec())];
    check(&events, End::Cut, u64::from(*seed));
    events.reverse();
    check(&events, End::Cut, u64::from(*seed));
}
