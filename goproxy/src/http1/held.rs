//! Pure. What the client sent behind a request whose answer may switch protocols, until it is known.

use super::memory::Account;
use crate::decode::{Output, Span};

/// So much is held. Beyond it the client did not wait for the answer, as it should have.
const MAX_BYTES: usize = 64 * 1024;

/// So many times are told apart.
const MAX_PIECES: usize = 64;

/// Bytes that are either requests or the start of a stream.
#[derive(Debug, Default)]
pub(super) struct Held {
    bytes: Vec<u8>,
    /// Where each piece ends, and when it was read.
    pieces: Vec<(usize, u64)>,
    account: Account,
}

impl Held {
    /// Holds some more. `false`, and nothing changed, when they are too many.
    #[must_use]
    pub(super) fn hold(&mut self, bytes: &[u8], at_ns: u64, out: &mut dyn Output) -> bool {
        let end = self.bytes.len() + bytes.len();
        if end > MAX_BYTES || !self.account.take(size_of::<(usize, u64)>(), out) {
            return false;
        }
        let capacity = (self.bytes.capacity() * 2).min(MAX_BYTES);
        if !self.account.append(&mut self.bytes, bytes, capacity, out) {
            return false;
        }
        let full = self.pieces.len() == MAX_PIECES;
        match self.pieces.last_mut() {
            Some(last) if full || last.1 == at_ns => *last = (end, at_ns),
            _ => self.pieces.push((end, at_ns)),
        }
        true
    }

    /// Hands the bytes out, each piece with its time, and holds nothing any more.
    pub(super) fn release(
        &mut self,
        out: &mut dyn Output,
        mut piece: impl FnMut(&[u8], u64, &mut dyn Output),
    ) {
        let mut held = std::mem::take(self);
        let mut start = 0;
        for &(end, at_ns) in &held.pieces {
            piece(held.bytes.get(start..end).unwrap_or_default(), at_ns, out);
            start = end;
        }
        held.account.close(out);
    }

    /// Counts the bytes and forgets them.
    pub(super) fn take_span(&mut self, out: &mut dyn Output) -> Span {
        let mut span = Span::default();
        self.release(out, |bytes, at_ns, _| span.add(bytes.len(), at_ns));
        span
    }
}
