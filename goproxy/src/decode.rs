//! Pure. What a protocol decoder is: the bytes of each direction in, exchanges out.
//!
//! A decoder is passive. It sees bytes that were relayed already and cannot change, delay or refuse
//! them; it is handed them split at any place. A new protocol is a new [`Decoder`] and a line in
//! [`crate::dissect`]; the relay does not know which decoders exist.

use common::exchange::{End, Exchange, Finding, Protocol};
pub use common::relay::Side;

/// What a decoder wants done after it has seen some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// More bytes, of either side. All that were given are consumed.
    Continue,
    /// What follows in both directions is this opaque stream. The decoder has put out all of its
    /// own exchanges and is not asked again.
    Opaque(Stream),
}

/// The opaque stream that a connection becomes, perhaps after some exchanges.
///
/// Every byte of a connection belongs to one exchange or to the stream: what the decoder was given,
/// now or earlier, and did not make part of an exchange is counted here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The number that its exchange gets: how many exchanges came before it on this connection.
    pub index: u64,
    /// What to call it.
    pub protocol: Protocol,
    /// Why, when it was not asked for by the peers.
    pub finding: Option<Finding>,
    /// What of the client's bytes so far belongs to it.
    pub client: Span,
    /// What of the server's bytes so far belongs to it.
    pub server: Span,
}

/// So many bytes of one side, read between these times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// How many.
    pub bytes: u64,
    /// When the first was read, in nanoseconds since the Unix epoch; 0 when there is none.
    pub first_byte_ns: u64,
    /// When the last was read.
    pub last_byte_ns: u64,
}

impl Span {
    /// Counts some more bytes.
    pub fn add(&mut self, bytes: usize, at_ns: u64) {
        if bytes > 0 {
            if self.bytes == 0 {
                self.first_byte_ns = at_ns;
            }
            self.bytes += bytes as u64;
            self.last_byte_ns = at_ns;
        }
    }
}

/// Why the bytes of an exchange were given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// [`Output::reserve`] had refused.
    Memory,
    /// The decoder failed while the exchange was open.
    Decoder,
}

/// Where a decoder puts what it found, and the memory that it may use.
pub trait Output {
    /// It is known what the connection speaks; told once, before anything else.
    fn protocol(&mut self, protocol: Protocol);
    /// A request head is complete; `target` is the request target (RFC 9112 §3.2), for the log. It is
    /// empty when its bytes were given up before the head was complete.
    fn request(&mut self, index: u64, target: &[u8]);
    /// A response came to its end, with so many bytes of content, for the log.
    fn response(&mut self, index: u64, body_bytes: u64);
    /// An exchange is over. `reserved` is what of the granted memory it holds, itself included.
    fn exchange(&mut self, exchange: Exchange, reserved: usize);
    /// An exchange is over, but its bytes were given up. The decoder has released what it held of it.
    fn lost(&mut self, index: u64, why: Lost);
    /// Asks for so many bytes of capture memory. When refused, the decoder gives up the bytes of
    /// this exchange (and releases them) but goes on following the connection.
    #[must_use]
    fn reserve(&mut self, bytes: usize) -> bool;
    /// Gives memory back that was granted.
    fn release(&mut self, bytes: usize);
}

/// The limits of what one exchange keeps. Beyond them lengths are counted and bytes are not kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a head; of a trailer section too, and of all 1xx heads of an exchange together.
    pub head: usize,
    /// Bytes of a body as it stands on the wire.
    pub body: usize,
}

/// Follows one connection.
pub trait Decoder: Send {
    /// These bytes were read from this side, at this time (nanoseconds since the Unix epoch).
    /// Within one side they come in order; between the sides, a request comes before its response.
    fn bytes(&mut self, from: Side, bytes: &[u8], at_ns: u64, out: &mut dyn Output) -> Next;

    /// This side sent its end (FIN): nothing more comes from it.
    fn half_closed(&mut self, from: Side, at_ns: u64, out: &mut dyn Output);

    /// The connection is over. Every exchange that is still open is put out; one whose response
    /// could only end with the connection is complete if the server sent its end, all others ended
    /// as told. `End::Complete` tells that both sides sent their end in good order: what was still
    /// open then was aborted by the side that closed too early.
    fn finish(&mut self, end: End, at_ns: u64, out: &mut dyn Output);
}
