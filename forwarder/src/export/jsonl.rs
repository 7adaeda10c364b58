//! Pure. One RRPair on each line.

use crate::rrpair::rrpair;
use crate::store::row::Row;

/// Writes one line. Returns whether the exchange can be told in this form, which every one can.
pub fn write(row: &Row, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(rrpair(row).to_string().as_bytes());
    out.push(b'\n');
    true
}
