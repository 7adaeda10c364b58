//! Pure. Cuts a head into its lines, which may come in parts.

use memchr::{memchr, memchr3};

use super::memory::Account;
use crate::decode::Output;

/// The longest line that is looked at, with its LF. Longer than any server takes a field line.
pub(super) const MAX_LINE_BYTES: usize = 64 * 1024;

/// What a line that comes in parts may hold without asking for memory: any connection can be followed
/// through ordinary heads when there is none left.
const FREE_BYTES: usize = 1024;

/// What the given bytes begin with. The number is how many of them that is.
#[derive(Debug)]
pub(super) enum Cut<'a> {
    /// A line with its LF, and with the parts of it that came earlier; `true` when it is known that there is no CR and no
    /// NUL before its end.
    Line(&'a [u8], usize, bool),
    /// The start of a line that is too long to be looked at whole.
    Long(&'a [u8], usize),
    /// More of a line whose start was handed out as too long.
    Rest(usize),
    /// The start of a line, which is remembered; all bytes that were given.
    Part(&'a [u8]),
}

/// Remembers the start of a line until its end has come.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
    account: Account,
    /// The line in `partial` was handed out.
    used: bool,
    /// The rest of the line is not looked at.
    skipping: bool,
}

impl Lines {
    /// What the given bytes begin with.
    #[inline]
    pub(super) fn cut<'a>(&'a mut self, bytes: &'a [u8], out: &mut dyn Output) -> Cut<'a> {
        if self.used {
            self.partial.clear();
            self.used = false;
        }
        match line_end(bytes) {
            (Some(length @ ..=MAX_LINE_BYTES), is_plain) if self.partial.is_empty() && !self.skipping => {
                Cut::Line(bytes.get(..length).unwrap_or(bytes), length, is_plain)
            }
            (end, _) => self.cut_part(bytes, end, out),
        }
    }

    fn cut_part<'a>(&'a mut self, bytes: &'a [u8], end: Option<usize>, out: &mut dyn Output) -> Cut<'a> {
        let length = end.unwrap_or(bytes.len());
        if self.skipping {
            self.skipping = end.is_none();
            return Cut::Rest(length);
        }
        let line = bytes.get(..length).unwrap_or(bytes);
        let room = MAX_LINE_BYTES - self.partial.len();
        let remembered = self.remember(line.get(..room).unwrap_or(line), out);
        if !remembered || length > room {
            self.used = true;
            self.skipping = end.is_none();
            return Cut::Long(&self.partial, length);
        }
        if end.is_none() {
            return Cut::Part(&self.partial);
        }
        self.used = true;
        Cut::Line(&self.partial, length, false)
    }

    fn remember(&mut self, bytes: &[u8], out: &mut dyn Output) -> bool {
        if self.partial.len() + bytes.len() <= FREE_BYTES {
            self.partial.extend_from_slice(bytes);
            return true;
        }
        let capacity = (self.partial.capacity() * 2).min(MAX_LINE_BYTES);
        self.account.append(&mut self.partial, bytes, capacity, out)
    }

    /// Forgets everything and holds no memory.
    pub(super) fn reset(&mut self, out: &mut dyn Output) {
        self.used = false;
        self.skipping = false;
        if self.partial.capacity() > 0 {
            self.partial = Vec::new();
            self.account.close(out);
        }
    }
}

/// How long the first line is, and whether it is known that there is no CR and no NUL before its end: one search
/// tells both of nearly every line.
fn line_end(bytes: &[u8]) -> (Option<usize>, bool) {
    let Some(at) = memchr3(b'\n', b'\r', 0, bytes) else { return (None, false) };
    match bytes.get(at..) {
        Some([b'\n', ..]) => (Some(at + 1), true),
        Some([b'\r', b'\n', ..]) => (Some(at + 2), true),
        rest => (rest.and_then(|rest| memchr(b'\n', rest)).map(|distance| at + distance + 1), false),
    }
}
