//! Pure. Where a page ended: opaque to whoever holds it, and true however much is stored meanwhile.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::store::identity::Uuid;

/// A place in the order of exchanges, newest first: what comes next is older than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The `ts`.
    pub ts_ns: i64,
    /// Among equal times, the greater UUID comes first.
    pub uuid: Uuid,
}

impl Cursor {
    /// Before everything that is not newer than this time.
    pub fn at(ts_ns: i64) -> Self {
        Self { ts_ns, uuid: Uuid(u128::MAX) }
    }

    /// Reads it back.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (ts, uuid) = bytes.split_first_chunk::<8>()?;
        let uuid = u128::from_be_bytes(uuid.try_into().ok()?);
        Some(Self { ts_ns: i64::from_be_bytes(*ts), uuid: Uuid(uuid) })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.ts_ns.to_be_bytes().to_vec();
        bytes.extend(self.uuid.bytes());
        formatter.write_str(&BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_nothing_else_does() {
        let cursor = Cursor { ts_ns: -5, uuid: Uuid(7) };
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        for wrong in ["", "x", "AAAA", "!!!", &"A".repeat(33)] {
            assert_eq!(Cursor::parse(wrong), None, "{wrong}");
        }
    }
}
