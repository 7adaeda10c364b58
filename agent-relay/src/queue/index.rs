//! Pure. Where the records of a sealed file stand: entries of 24 bytes, sorted by agent and number.
//!
//! An entry is the agent (4 bytes), the length of the record (4), its number (8), where it begins (4), and when it
//! came in seconds since 1970 (4), little-endian. Behind the entries: how many they are (8), their CRC-32 (4),
//! and `WqI1`. The file can always be made again from the records.

use std::io;

/// Length of an entry.
const ENTRY: u64 = 24;
const TRAILER: u64 = 16;
const MAGIC: &[u8; 4] = b"WqI1";

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) agent: u32,
    pub(crate) number: u64,
    pub(crate) at: u32,
    pub(crate) record_bytes: u32,
    pub(crate) time_s: u32,
}

/// Reads bytes of an index from there on.
type Read<'a> = &'a dyn Fn(u64, &mut [u8]) -> io::Result<()>;

/// An index of these entries, which must be sorted.
pub(crate) fn encode(entries: impl Iterator<Item = Entry>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut count = 0_u64;
    for entry in entries {
        bytes.extend_from_slice(&entry.agent.to_le_bytes());
        bytes.extend_from_slice(&entry.record_bytes.to_le_bytes());
        bytes.extend_from_slice(&entry.number.to_le_bytes());
        bytes.extend_from_slice(&entry.at.to_le_bytes());
        bytes.extend_from_slice(&entry.time_s.to_le_bytes());
        count += 1;
    }
    let sum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes.extend_from_slice(MAGIC);
    bytes
}

fn word<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..at + N).and_then(|part| part.try_into().ok()).unwrap_or([0; N])
}

/// Reads an entry.
fn decode(bytes: &[u8]) -> Entry {
    Entry {
        agent: u32::from_le_bytes(word(bytes, 0)),
        record_bytes: u32::from_le_bytes(word(bytes, 4)),
        number: u64::from_le_bytes(word(bytes, 8)),
        at: u32::from_le_bytes(word(bytes, 16)),
        time_s: u32::from_le_bytes(word(bytes, 20)),
    }
}

/// The entries of a whole index, if it is one.
pub(crate) fn check(bytes: &[u8]) -> Option<Vec<Entry>> {
    let (entries, trailer) = bytes.split_at_checked(bytes.len().checked_sub(16)?)?;
    let count = u64::from_le_bytes(word(trailer, 0));
    let whole = trailer.ends_with(MAGIC)
        && count.checked_mul(ENTRY) == Some(entries.len() as u64)
        && crc32fast::hash(entries) == u32::from_le_bytes(word(trailer, 8));
    whole.then(|| entries.chunks_exact(24).map(decode).collect())
}

/// The first records of an agent from this number on, so many at most, without reading more of the index than it takes.
pub(crate) fn find(
    read: Read<'_>,
    length: u64,
    agent: u32,
    from: u64,
    most: usize,
) -> io::Result<Vec<Entry>> {
    let (mut low, mut high) = (0, length.saturating_sub(TRAILER) / ENTRY);
    let count = high;
    let mut buffer = [0; 24];
    while low < high {
        let middle = low.midpoint(high);
        read(middle * ENTRY, &mut buffer)?;
        let entry = decode(&buffer);
        if (entry.agent, entry.number) < (agent, from) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let there = usize::try_from(count - low).unwrap_or(usize::MAX).min(most);
    let mut buffer = vec![0; there * 24];
    read(low * ENTRY, &mut buffer)?;
    Ok(buffer.chunks_exact(24).map(decode).take_while(|entry| entry.agent == agent).collect())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_set, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn what_is_there_is_found_and_nothing_else(
            keys in btree_set((0_u32..5, 1_u64..40), 0..60), agent in 0_u32..6, from in 0_u64..42,
            most in 1_usize..5
        ) {
            let entry = |(agent, number)| Entry { agent, number, at: 7, record_bytes: 9, time_s: 1 };
            let bytes = encode(keys.iter().copied().map(entry));
            let read = |at: u64, buffer: &mut [u8]| {
                let at = usize::try_from(at).unwrap();
                buffer.copy_from_slice(&bytes[at..at + buffer.len()]);
                Ok(())
            };
            let found = find(&read, bytes.len() as u64, agent, from, most).unwrap();
            let own = keys.iter().copied().filter(|key| key.0 == agent && key.1 >= from);
            let expected: Vec<_> = own.take(most).map(entry).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(check(&bytes).unwrap().len(), keys.len());
            prop_assert!(check(&bytes[..bytes.len() - 1]).is_none());
        }
    }
}
