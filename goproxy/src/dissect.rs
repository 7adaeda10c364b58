//! Pure. Takes a connection apart: tells its protocol, then follows it with the decoder for that.

use common::exchange::{End, Exchange, Finding, Protocol};

use crate::decode::{Decoder, Limits, Lost, Next, Output, Side, Span, Stream};
use crate::http1::Http1;
use crate::opaque::Opaque;
use crate::sniff::Sniffer;

#[cfg(test)]
mod tests;

/// Follows one connection from its first byte to its end, whatever it turns out to be.
#[derive(Debug)]
pub struct Dissector {
    limits: Limits,
    following: Following,
    ledger: Ledger,
}

#[derive(Debug)]
enum Following {
    Unknown(Sniffer),
    Http1(Box<Http1>),
    Opaque(Opaque),
}

impl Dissector {
    /// For a new connection; keeps no more of an exchange than these limits say.
    pub fn new(limits: Limits) -> Self {
        Self { limits, following: Following::Unknown(Sniffer::default()), ledger: Ledger::default() }
    }

    /// What the connection is now; `None` while it cannot be told.
    pub fn protocol(&self) -> Option<Protocol> {
        match &self.following {
            Following::Unknown(_) => None,
            Following::Http1(_) => Some(Protocol::Http1),
            Following::Opaque(opaque) => Some(opaque.protocol()),
        }
    }

    /// Whether the connection is between two exchanges, or before its first byte: then it can be
    /// closed without harm to any of them.
    pub fn is_idle(&self) -> bool {
        match &self.following {
            Following::Unknown(sniffer) => sniffer.seen().bytes == 0,
            Following::Http1(http1) => http1.is_idle(),
            Following::Opaque(_) => false,
        }
    }

    /// As [`Decoder::bytes`].
    pub fn bytes(&mut self, from: Side, bytes: &[u8], at_ns: u64, out: &mut dyn Output) {
        let out = &mut Counted { out, ledger: &mut self.ledger };
        if let Following::Unknown(sniffer) = &mut self.following {
            let Some(protocol) = sniffer.bytes(from, bytes, at_ns) else {
                return;
            };
            out.protocol(protocol);
            let seen = sniffer.seen();
            self.following = if protocol == Protocol::Http1 {
                let mut http1 = Http1::new(self.limits);
                match http1.bytes(Side::Client, sniffer.prefix(), seen.first_byte_ns, out) {
                    Next::Continue => Following::Http1(Box::new(http1)),
                    Next::Opaque(stream) => Following::Opaque(Opaque::new(stream)),
                }
            } else {
                Following::Opaque(Opaque::new(from_the_start(protocol, seen)))
            };
        }
        let next = match &mut self.following {
            Following::Unknown(_) => Next::Continue,
            Following::Http1(http1) => http1.bytes(from, bytes, at_ns, out),
            Following::Opaque(opaque) => opaque.bytes(from, bytes, at_ns, out),
        };
        if let Next::Opaque(stream) = next {
            self.following = Following::Opaque(Opaque::new(stream));
        }
    }

    /// As [`Decoder::half_closed`].
    pub fn half_closed(&mut self, from: Side, at_ns: u64, out: &mut dyn Output) {
        let out = &mut Counted { out, ledger: &mut self.ledger };
        match &mut self.following {
            Following::Unknown(_) => {}
            Following::Http1(http1) => http1.half_closed(from, at_ns, out),
            Following::Opaque(opaque) => opaque.half_closed(from, at_ns, out),
        }
    }

    /// As [`Decoder::finish`]; once, and nothing after it.
    pub fn finish(&mut self, end: End, at_ns: u64, out: &mut dyn Output) {
        let out = &mut Counted { out, ledger: &mut self.ledger };
        match &mut self.following {
            Following::Unknown(sniffer) => {
                Opaque::new(from_the_start(Protocol::Tcp, sniffer.seen())).finish(end, at_ns, out);
            }
            Following::Http1(http1) => http1.finish(end, at_ns, out),
            Following::Opaque(opaque) => opaque.finish(end, at_ns, out),
        }
    }

    /// The caller caught a panic of this value, in any of its calls: every exchange that was open is
    /// lost, all capture memory is released, and the connection is opaque from here on. The bytes of
    /// the call that failed, and those of the lost exchanges, are in no exchange.
    pub fn give_up(&mut self, out: &mut dyn Output) {
        let opened = match &self.following {
            Following::Unknown(_) => 0,
            Following::Http1(http1) => http1.opened(),
            Following::Opaque(_) => return,
        };
        // The decoder itself cannot be asked any more.
        let Ledger { reserved, over } = std::mem::take(&mut self.ledger);
        for index in over..opened {
            out.lost(index, Lost::Decoder);
        }
        if reserved > 0 {
            out.release(reserved);
        }
        let mut stream = from_the_start(Protocol::Tcp, Span::default());
        stream.index = opened.max(over);
        stream.finding = Some(Finding::DecoderFailed);
        self.following = Following::Opaque(Opaque::new(stream));
    }
}

fn from_the_start(protocol: Protocol, client: Span) -> Stream {
    Stream { index: 0, protocol, finding: None, client, server: Span::default() }
}

/// What a decoder holds, and how many of its exchanges are over: known even when it has failed.
#[derive(Debug, Default)]
struct Ledger {
    reserved: usize,
    over: u64,
}

/// Keeps the ledger of what passes to the output.
struct Counted<'a> {
    out: &'a mut dyn Output,
    ledger: &'a mut Ledger,
}

impl Output for Counted<'_> {
    fn protocol(&mut self, protocol: Protocol) {
        self.out.protocol(protocol);
    }

    fn request(&mut self, index: u64, target: &[u8]) {
        self.out.request(index, target);
    }

    fn response(&mut self, index: u64, body_bytes: u64) {
        self.out.response(index, body_bytes);
    }

    fn exchange(&mut self, exchange: Exchange, reserved: usize) {
        self.ledger.over += 1;
        self.ledger.reserved = self.ledger.reserved.saturating_sub(reserved);
        self.out.exchange(exchange, reserved);
    }

    fn lost(&mut self, index: u64, why: Lost) {
        self.ledger.over += 1;
        self.out.lost(index, why);
    }

    fn reserve(&mut self, bytes: usize) -> bool {
        let granted = self.out.reserve(bytes);
        if granted {
            self.ledger.reserved += bytes;
        }
        granted
    }

    fn release(&mut self, bytes: usize) {
        self.ledger.reserved = self.ledger.reserved.saturating_sub(bytes);
        self.out.release(bytes);
    }
}
