//! Pure. Where one side of a connection is between and within its messages.

use super::body::Body;
use super::head::{Head, StartLine};
use crate::decode::{Output, Span};

/// So many bytes of empty lines may stand before a start line.
const MAX_BLANK_BYTES: usize = 32;

/// The messages of one side, one after the other.
#[derive(Debug)]
pub(super) struct Reader<S> {
    pub(super) stage: Stage,
    pub(super) head: Head<S>,
    blank: [u8; MAX_BLANK_BYTES],
    blank_bytes: usize,
    /// What has come of the head that is being read, and when.
    pub(super) seen: Span,
    /// How much content the body had so far.
    pub(super) content_bytes: u64,
}

/// What the next byte of a side belongs to.
#[derive(Debug)]
pub(super) enum Stage {
    /// The next message, or an empty line before it.
    Between,
    Head,
    Body(Body),
}

impl<S: StartLine> Default for Reader<S> {
    fn default() -> Self {
        Self {
            stage: Stage::Between,
            head: Head::default(),
            blank: [0; MAX_BLANK_BYTES],
            blank_bytes: 0,
            seen: Span::default(),
            content_bytes: 0,
        }
    }
}

impl<S: StartLine> Reader<S> {
    /// Steps over empty lines. Tells how many bytes that were, and whether they were too many.
    pub(super) fn skip_blank(&mut self, bytes: &[u8], at_ns: u64) -> (usize, bool) {
        let mut skipped = 0;
        for &byte in bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')) {
            let Some(place) = self.blank.get_mut(self.blank_bytes) else {
                self.seen.add(skipped, at_ns);
                return (skipped, true);
            };
            *place = byte;
            self.blank_bytes += 1;
            skipped += 1;
        }
        self.seen.add(skipped, at_ns);
        (skipped, false)
    }

    /// The empty lines that stood before the head.
    pub(super) fn blank(&self) -> &[u8] {
        self.blank.get(..self.blank_bytes).unwrap_or_default()
    }

    /// Makes ready for the next message.
    pub(super) fn next(&mut self, out: &mut dyn Output) {
        self.stage = Stage::Between;
        self.end_head(out);
    }

    /// Forgets the head, which was read or is none; tells what had come of it.
    pub(super) fn end_head(&mut self, out: &mut dyn Output) -> Span {
        self.head.reset(out);
        self.blank_bytes = 0;
        self.content_bytes = 0;
        std::mem::take(&mut self.seen)
    }
}
