//! Pure. Follows HTTP/1.0 and HTTP/1.1 (RFC 9112) and pairs each response with its request.
//!
//! Requests open exchanges, responses finish them in the same order. Whatever is wrong with the
//! framing of a request ends only what is understood of the client: the answers to what it had asked
//! are still followed, and then the connection becomes opaque. A response that cannot be followed
//! makes it opaque at once.
//!
//! A response to no request is an exchange with an empty request: servers announce time-outs so
//! (408). Empty lines that no message follows belong to no exchange.

use common::exchange::{End, Finding, Protocol};

use self::body::Body;
use self::held::Held;
use self::message::{Reader, Stage};
use self::open::{Open, Queue};
use self::request::RequestLine;
use self::response::StatusLine;
use self::server::Step;
use crate::decode::{Decoder, Limits, Next, Output, Side, Span, Stream};
use crate::opaque::Opaque;

mod body;
mod client;
mod draft;
mod head;
mod held;
mod length;
mod line;
mod list;
mod memory;
mod message;
mod open;
mod request;
mod response;
mod server;
#[cfg(test)]
mod tests;

/// What the next bytes of the client are.
#[derive(Debug)]
enum Client {
    /// Requests.
    Requests,
    /// Requests or a stream: the answer to the last request decides.
    Held,
    /// Not understood any more, for this reason; so many so far.
    Lost(Option<Finding>, Span),
}

/// The decoder of HTTP/1.0 and HTTP/1.1.
#[derive(Debug)]
pub struct Http1 {
    limits: Limits,
    queue: Queue,
    client: Client,
    requests: Reader<RequestLine>,
    held: Held,
    responses: Reader<StatusLine>,
    closed_first: Option<Side>,
}

impl Http1 {
    /// A decoder for a connection whose first byte is the first that it is given.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            queue: Queue::default(),
            client: Client::Requests,
            requests: Reader::default(),
            held: Held::default(),
            responses: Reader::default(),
            closed_first: None,
        }
    }

    /// Whether no exchange is open.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && matches!(self.client, Client::Requests)
            && matches!(self.requests.stage, Stage::Between)
    }

    /// How many exchanges were opened so far.
    pub fn opened(&self) -> u64 {
        self.queue.next_index
    }

    /// Whether the client is not understood any more and all that it had asked is answered.
    fn is_over(&self) -> bool {
        matches!(self.client, Client::Lost(..)) && self.queue.is_empty()
    }

    /// The stream that is left when all exchanges are over.
    fn stream(&mut self, protocol: Protocol, finding: Option<Finding>, out: &mut dyn Output) -> Stream {
        let client = match std::mem::replace(&mut self.client, Client::Held) {
            Client::Requests if matches!(self.requests.stage, Stage::Between) => self.requests.end_head(out),
            Client::Requests => Span::default(),
            Client::Held => self.held.take_span(out),
            Client::Lost(_, span) => span,
        };
        self.requests.next(out);
        let between = matches!(self.responses.stage, Stage::Between);
        let server = Some(self.responses.end_head(out)).filter(|_| between).unwrap_or_default();
        self.responses.stage = Stage::Between;
        Stream { index: self.queue.next_index, protocol, finding, client, server }
    }

    fn put_out_all(&mut self, end: End, out: &mut dyn Output) {
        while let Some(open) = self.queue.front() {
            let client_left = !open.requested && self.closed_first == Some(Side::Client);
            let end = match end {
                _ if open.responded => End::Complete,
                End::Complete if client_left => End::AbortedByClient,
                End::Complete => End::AbortedByServer,
                end => end,
            };
            self.queue.put_out_front(end, out);
        }
    }
}

impl Decoder for Http1 {
    fn bytes(&mut self, from: Side, bytes: &[u8], at_ns: u64, out: &mut dyn Output) -> Next {
        let step = match from {
            Side::Client => {
                self.client_bytes(bytes, at_ns, out);
                Step::Taken(bytes.len())
            }
            Side::Server => self.server_bytes(bytes, at_ns, out),
        };
        let (consumed, protocol, finding) = match (step, &self.client) {
            (Step::Switch(consumed, protocol, finding), _) => (consumed, protocol, finding),
            (Step::Taken(consumed), Client::Lost(reason, _)) if self.queue.is_empty() => {
                (consumed, Protocol::Tcp, *reason)
            }
            _ => return Next::Continue,
        };
        self.put_out_all(End::AbortedByServer, out);
        let mut stream = self.stream(protocol, finding, out);
        let rest = bytes.len() - consumed;
        match from {
            Side::Client => stream.client.add(rest, at_ns),
            Side::Server => stream.server.add(rest, at_ns),
        }
        Next::Opaque(stream)
    }

    fn half_closed(&mut self, from: Side, _at_ns: u64, out: &mut dyn Output) {
        self.closed_first.get_or_insert(from);
        if from == Side::Server && matches!(self.responses.stage, Stage::Body(Body::Close)) {
            self.end_response(out);
        }
    }

    fn finish(&mut self, end: End, at_ns: u64, out: &mut dyn Output) {
        if end == End::Complete {
            self.half_closed(Side::Server, at_ns, out);
        }
        self.put_out_all(end, out);
        let finding = match self.client {
            // What is left are empty lines at most.
            Client::Requests => {
                self.stream(Protocol::Tcp, None, out);
                return;
            }
            Client::Held => None,
            Client::Lost(reason, _) => reason,
        };
        let stream = self.stream(Protocol::Tcp, finding, out);
        Opaque::new(stream).finish(end, at_ns, out);
    }
}

/// Tells of an exchange what its chunked coding showed.
fn chunk_findings(open: &mut Open, body: &Body) {
    if let Body::Chunked(scanner) = body {
        if scanner.bare_lf() {
            open.find(Finding::BareLf);
        }
        if scanner.control_byte() {
            open.find(Finding::ControlByte);
        }
    }
}
