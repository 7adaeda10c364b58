//! Pure. Capture memory: asked for in steps, held by one owner, given back when it is done.

use crate::decode::Output;

/// Asked for at least, so that a small exchange asks once.
const STEP: usize = 1024;

/// What one owner was granted, and what of it is in use.
#[derive(Debug, Default)]
pub(super) struct Account {
    granted: usize,
    used: usize,
}

impl Account {
    /// Uses so many bytes more; `false` when they are not granted.
    pub(super) fn take(&mut self, bytes: usize, out: &mut dyn Output) -> bool {
        let used = self.used.saturating_add(bytes);
        if used > self.granted {
            let missing = used - self.granted;
            let step = missing.max(STEP);
            if out.reserve(step) {
                self.granted += step;
            } else if missing < step && out.reserve(missing) {
                self.granted += missing;
            } else {
                return false;
            }
        }
        self.used = used;
        true
    }

    /// Uses so many bytes less.
    pub(super) fn put_back(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }

    /// Gives back what is not in use; tells what is, which the caller takes over.
    pub(super) fn settle(self, out: &mut dyn Output) -> usize {
        if self.granted > self.used {
            out.release(self.granted - self.used);
        }
        self.used
    }

    /// Gives everything back.
    pub(super) fn close(&mut self, out: &mut dyn Output) {
        if self.granted > 0 {
            out.release(self.granted);
        }
        *self = Self::default();
    }

    /// Appends the bytes to a buffer of this owner; one that must grow grows to `capacity` at least.
    /// `false`, and nothing appended, when the memory is not granted.
    pub(super) fn append(
        &mut self,
        buffer: &mut Vec<u8>,
        bytes: &[u8],
        capacity: usize,
        out: &mut dyn Output,
    ) -> bool {
        let needed = buffer.len() + bytes.len();
        if needed > buffer.capacity() {
            let capacity = capacity.max(needed);
            if !self.take(capacity - buffer.capacity(), out) {
                return false;
            }
            buffer.reserve_exact(capacity - buffer.len());
        }
        buffer.extend_from_slice(bytes);
        true
    }

    /// Cuts a buffer to what it holds.
    pub(super) fn trim(&mut self, buffer: &mut Vec<u8>) {
        if buffer.capacity() > buffer.len() {
            self.put_back(buffer.capacity() - buffer.len());
            buffer.shrink_to_fit();
        }
    }
}
