//! Pure. Searches for what is near as a rule: eight bytes at a time, which costs less to begin than the wider searches
//! of memchr, to which they come when it is not.

/// How far they go.
const NEAR_BYTES: usize = 32;

/// Where the first of these bytes is.
pub(super) fn find(wanted: u8, bytes: &[u8]) -> Option<usize> {
    search([wanted], bytes, |far| memchr::memchr(wanted, far))
}

/// Where the first byte is that is one of these.
pub(super) fn find_either(one: u8, other: u8, bytes: &[u8]) -> Option<usize> {
    search([one, other], bytes, |far| memchr::memchr2(one, other, far))
}

fn search<const N: usize>(
    wanted: [u8; N],
    bytes: &[u8],
    search_far: impl Fn(&[u8]) -> Option<usize>,
) -> Option<usize> {
    let (near, far) = bytes.split_at_checked(NEAR_BYTES).unwrap_or((bytes, &[]));
    let (words, rest) = near.as_chunks::<8>();
    for (at, word) in (0..).step_by(8).zip(words) {
        let word = u64::from_le_bytes(*word);
        let found = wanted.iter().fold(0, |found, byte| found | zeros(word ^ u64::from_ne_bytes([*byte; 8])));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
    }
    let found = rest.iter().position(|byte| wanted.contains(byte)).map(|at| near.len() - rest.len() + at);
    match found {
        None if !far.is_empty() => search_far(far).map(|at| near.len() + at),
        found => found,
    }
}

/// The highest bit of each byte that is 0, and perhaps of some behind the first of these.
fn zeros(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    word.wrapping_sub(ONES) & !word & (ONES << 7)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_found_is_what_memchr_finds(
            bytes in prop::collection::vec(prop_oneof![Just(b':'), Just(b';'), Just(b'\\'), any::<u8>()], 0..80),
            common in prop_oneof![Just(b'9'), Just(b'\x7f'), Just(b'\x80'), Just(b'\xff'), Just(0)],
            rare in 0..80_usize,
        ) {
            let mut bytes = bytes;
            bytes.iter_mut().take(rare).for_each(|byte| *byte = common);
            for wanted in [b':', common] {
                prop_assert_eq!(find(wanted, &bytes), memchr::memchr(wanted, &bytes));
            }
            prop_assert_eq!(find_either(b';', b'\\', &bytes), memchr::memchr2(b';', b'\\', &bytes));
        }
    }
}
