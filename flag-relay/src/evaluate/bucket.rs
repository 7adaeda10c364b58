//! Pure. The bucket of a target, from 1 to 100: MurmurHash3 (x86, 32 bits, seed 0) over `attribute:value`.

use super::{
    Dialect, Evaluation,
    trace::{Step, Watch},
};
use crate::ruleset::Attribute;

impl Evaluation<'_> {
    /// The bucket of the target by this attribute, or by its identifier when it has no such attribute.
    pub(super) fn bucket(&self, by: &Attribute, watch: &mut impl Watch) -> Option<u32> {
        let value = match self.dialect {
            Dialect::Relay => self.subject.text(by),
            Dialect::Python => self.subject.truthy(by),
        };
        let (name, value) =
            if value.is_empty() { ("identifier", self.subject.identifier) } else { (&*by.name, value) };
        if value.is_empty() {
            watch.note(|| Step::new(1, "the target has no identifier, so it falls to the last part"));
            return None;
        }
        let bucket = bucket(name, value);
        watch.note(|| Step::new(1, format!("bucket {bucket} of 100, by {name}={value:?}")));
        Some(bucket)
    }
}

/// The bucket of a value of an attribute.
pub(crate) fn bucket(name: &str, value: &str) -> u32 {
    let bytes = [name.as_bytes(), b":", value.as_bytes()].concat();
    murmur3(&bytes) % 100 + 1
}

fn murmur3(bytes: &[u8]) -> u32 {
    const C1: u32 = 0xcc9e_2d51;
    const C2: u32 = 0x1b87_3593;
    let scrambled = |block: u32| block.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2);
    let (blocks, tail) = bytes.as_chunks::<4>();
    let mut hash: u32 = 0;
    for block in blocks {
        hash ^= scrambled(u32::from_le_bytes(*block));
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let rest = tail.iter().rev().fold(0, |rest, byte| rest << 8 | u32::from(*byte));
    hash ^= scrambled(rest);
    // The algorithm is defined modulo 2^32.
    #[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 is meant")]
    let length = bytes.len() as u32;
    hash ^= length;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::bucket;

    #[test]
    fn buckets_are_those_of_the_sdks() {
        let check = |input: &str, expected: u32| {
            let (name, value) = input.split_once(':').unwrap();
            assert_eq!(bucket(name, value), expected, "{input}");
        };
        check("identifier:test", 57);
        check("email:enver.bisevac@harness", 61);
        check("identifier:harness", 6);
        check("identifier:james", 18);
        check("identifier:nobody0@harness.io", 36);
        check("identifier:nobody1@harness.io", 10);
        check("identifier:nobody2@harness.io", 17);
        check("identifier:nobody3@harness.io", 15);
        check("identifier:nobody4@harness.io", 86);
    }
}
