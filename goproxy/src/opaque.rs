//! Pure. The decoder of everything that is not understood: times and counts, and no bytes.

use common::exchange::{End, Exchange, Framing, Message, Protocol};

use crate::decode::{Decoder, Next, Output, Side, Span, Stream};

/// Counts a stream in both directions: one exchange for as long as it lives. A stream without a byte
/// is none.
#[derive(Clone, Copy, Debug)]
pub struct Opaque {
    stream: Stream,
}

impl Opaque {
    /// Goes on counting where another decoder left the connection.
    pub fn new(stream: Stream) -> Self {
        Self { stream }
    }

    /// What the stream is called.
    pub fn protocol(&self) -> Protocol {
        self.stream.protocol
    }
}

impl Decoder for Opaque {
    fn bytes(&mut self, from: Side, bytes: &[u8], at_ns: u64, _out: &mut dyn Output) -> Next {
        match from {
            Side::Client => self.stream.client.add(bytes.len(), at_ns),
            Side::Server => self.stream.server.add(bytes.len(), at_ns),
        }
        Next::Continue
    }

    fn half_closed(&mut self, _from: Side, _at_ns: u64, _out: &mut dyn Output) {}

    fn finish(&mut self, end: End, _at_ns: u64, out: &mut dyn Output) {
        let Stream { index, protocol, finding, client, server } = self.stream;
        if client.bytes == 0 && server.bytes == 0 {
            return;
        }
        let response = (server.bytes > 0).then(|| message(server));
        let exchange = Exchange {
            index,
            protocol,
            request: message(client),
            response,
            informational: Vec::new(),
            end,
            findings: finding.into_iter().collect(),
        };
        out.exchange(exchange, 0);
    }
}

fn message(span: Span) -> Message {
    Message {
        first_byte_ns: span.first_byte_ns,
        last_byte_ns: span.last_byte_ns,
        framing: Framing::Close,
        body_bytes: span.bytes,
        wire_bytes: span.bytes,
        ..Message::default()
    }
}
