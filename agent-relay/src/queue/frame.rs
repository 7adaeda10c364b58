//! Pure. How records stand in the files of the queue, and what can be read back from a damaged one.
//!
//! Version 1. Every number is little-endian. A file begins with a head of 44 bytes:
//! `wayside queue 1\n`, the number of the file (8 bytes), its mark (4, drawn at random), the length up to which
//! the file of the number before is to be read (8), four bytes of zero, and a CRC-32 of all that.
//!
//! A record is 56 bytes, then its head, then its body:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `WqR1` |
//! | 4 | 4 | CRC-32 of everything behind |
//! | 8 | 4 | the mark of the file: no body can pass for a record, since nobody outside knows it |
//! | 12 | 4 | the group: what was made durable together |
//! | 16 | 1 | flags: 1 for the last of its group, 2 for a dead letter that was put back, 4 for a record that was set aside from another lane, 8 for one that has an origin |
//! | 17 | 1 | kind: 1 for a request, others in `marks` |
//! | 18 | 2 | length of the head |
//! | 20 | 4 | length of the body |
//! | 24 | 4 | the agent |
//! | 28 | 4 | zero |
//! | 32 | 8 | its number: 1, 2, 3, … for each agent |
//! | 40 | 8 | bytes of all records of the agent up to and with this one |
//! | 48 | 8 | when it came, in milliseconds since 1970 |
//!
//! The head of a record that has an origin begins with 8 bytes more: the number that it had where it came from, in
//! the lane that it was set aside from or in the relay before this one. What has no higher origin than the one before
//! it in its lane came already.
//!
//! A group is written only after the one before it is on disk. So what cannot be read at the end was never
//! acknowledged; what cannot be read before a later group was damaged, and the records behind it are kept.

use crc32fast::Hasher;
use memchr::memmem;

const TITLE: &[u8; 16] = b"wayside queue 1\n";
const MAGIC: &[u8; 4] = b"WqR1";
/// Length of the head of a file.
pub(crate) const FILE_HEAD: usize = 44;
/// Length of a record without its head and body.
pub(crate) const RECORD: usize = 56;
/// The last record of its group.
pub(crate) const LAST: u8 = 1;
/// A dead letter that was put back into the queue.
pub(crate) const REPLAYED: u8 = 2;
/// A record that was set aside from another lane.
pub(crate) const MOVED: u8 = 4;
/// The head begins with the number that it had where it came from.
pub(crate) const ORIGIN: u8 = 8;
/// A request of an agent.
pub(crate) const REQUEST: u8 = 1;

/// The first bytes of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileHead {
    pub(crate) number: u64,
    pub(crate) mark: u32,
    /// How much of the file before counts.
    pub(crate) before: u64,
}

/// The fixed part of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fixed {
    pub(crate) mark: u32,
    pub(crate) group: u32,
    pub(crate) flags: u8,
    pub(crate) kind: u8,
    pub(crate) head_bytes: u16,
    pub(crate) body_bytes: u32,
    pub(crate) agent: u32,
    pub(crate) number: u64,
    pub(crate) total: u64,
    pub(crate) time_ms: u64,
}

impl Fixed {
    /// Length of the whole record.
    pub(crate) fn record_bytes(&self) -> u64 {
        RECORD as u64 + u64::from(self.head_bytes) + u64::from(self.body_bytes)
    }
}

fn word<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// The head of a file.
pub(crate) fn file_head(head: &FileHead) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FILE_HEAD);
    bytes.extend_from_slice(TITLE);
    bytes.extend_from_slice(&head.number.to_le_bytes());
    bytes.extend_from_slice(&head.mark.to_le_bytes());
    bytes.extend_from_slice(&head.before.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// Reads the head of a file, if it is one.
pub(crate) fn read_file_head(bytes: &[u8]) -> Option<FileHead> {
    let told = FileHead {
        number: u64::from_le_bytes(word(bytes, 16)?),
        mark: u32::from_le_bytes(word(bytes, 24)?),
        before: u64::from_le_bytes(word(bytes, 28)?),
    };
    bytes.starts_with(&file_head(&told)).then_some(told)
}

/// The fixed part of a record in bytes; the checksum covers the head and the body as well.
pub(crate) fn fixed(record: &Fixed, head: &[u8], body: &[u8]) -> [u8; RECORD] {
    let mut bytes = unsummed(record);
    let mut sum = begin(&bytes, head);
    sum.update(body);
    end(&mut bytes, sum);
    bytes
}

/// Begins the checksum of a record, which its body in parts has to go through as well.
pub(crate) fn begin(fixed: &[u8; RECORD], head: &[u8]) -> Hasher {
    let mut sum = Hasher::new();
    sum.update(fixed.get(8..).unwrap_or_default());
    sum.update(head);
    sum
}

/// Puts the checksum of a record where it belongs.
pub(crate) fn end(fixed: &mut [u8; RECORD], sum: Hasher) {
    if let Some(place) = fixed.get_mut(4..8) {
        place.copy_from_slice(&sum.finalize().to_le_bytes());
    }
}

/// Whether this is the checksum of a record that begins so.
pub(crate) fn is_whole(fixed: &[u8], sum: Hasher) -> bool {
    word(fixed, 4) == Some(sum.finalize().to_le_bytes())
}

/// The fixed part of a record in bytes, without its checksum.
pub(crate) fn unsummed(record: &Fixed) -> [u8; RECORD] {
    let mut bytes = [0; RECORD];
    let parts: [(usize, &[u8]); 12] = [
        (0, MAGIC),
        (8, &record.mark.to_le_bytes()),
        (12, &record.group.to_le_bytes()),
        (16, &[record.flags]),
        (17, &[record.kind]),
        (18, &record.head_bytes.to_le_bytes()),
        (20, &record.body_bytes.to_le_bytes()),
        (24, &record.agent.to_le_bytes()),
        (32, &record.number.to_le_bytes()),
        (40, &record.total.to_le_bytes()),
        (48, &record.time_ms.to_le_bytes()),
        (56, &[]),
    ];
    for (at, part) in parts {
        if let Some(place) = bytes.get_mut(at..at + part.len()) {
            place.copy_from_slice(part);
        }
    }
    bytes
}

/// A whole record in bytes.
pub(crate) fn record(fixed_part: &Fixed, head: &[u8], body: &[u8]) -> Vec<u8> {
    [&fixed(fixed_part, head, body)[..], head, body].concat()
}

/// Reads the fixed part of a record, unchecked as yet.
pub(crate) fn read_fixed(bytes: &[u8]) -> Option<Fixed> {
    if !bytes.starts_with(MAGIC) {
        return None;
    }
    Some(Fixed {
        mark: u32::from_le_bytes(word(bytes, 8)?),
        group: u32::from_le_bytes(word(bytes, 12)?),
        flags: *bytes.get(16)?,
        kind: *bytes.get(17)?,
        head_bytes: u16::from_le_bytes(word(bytes, 18)?),
        body_bytes: u32::from_le_bytes(word(bytes, 20)?),
        agent: u32::from_le_bytes(word(bytes, 24)?),
        number: u64::from_le_bytes(word(bytes, 32)?),
        total: u64::from_le_bytes(word(bytes, 40)?),
        time_ms: u64::from_le_bytes(word(bytes, 48)?),
    })
}

impl Record<'_> {
    /// The number that it had where it came from, and how many bytes of the head say so.
    pub(crate) fn origin(&self) -> (Option<u64>, usize) {
        if self.fixed.flags & ORIGIN == 0 {
            return (None, 0);
        }
        word(self.head, 0).map_or((None, 0), |bytes| (Some(u64::from_le_bytes(bytes)), 8))
    }
}

/// A whole record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) fixed: Fixed,
    pub(crate) head: &'a [u8],
    pub(crate) body: &'a [u8],
}

/// Reads the record that these bytes begin with, if it is whole.
pub(crate) fn read_record(bytes: &[u8]) -> Option<Record<'_>> {
    let fixed_part = read_fixed(bytes)?;
    let body_at = RECORD + usize::from(fixed_part.head_bytes);
    let end = body_at.checked_add(usize::try_from(fixed_part.body_bytes).ok()?)?;
    let sum = u32::from_le_bytes(word(bytes, 4)?);
    if crc32fast::hash(bytes.get(8..end)?) != sum {
        return None;
    }
    Some(Record { fixed: fixed_part, head: bytes.get(RECORD..body_at)?, body: bytes.get(body_at..end)? })
}

/// The same bytes with every checksum and mark put right, so that an attacker reaches what stands behind them.
pub(crate) fn resummed(file: &[u8]) -> Vec<u8> {
    let mut bytes = file.to_vec();
    let sum = crc32fast::hash(bytes.get(..FILE_HEAD - 4).unwrap_or_default());
    if let Some(place) = bytes.get_mut(FILE_HEAD - 4..FILE_HEAD) {
        place.copy_from_slice(&sum.to_le_bytes());
    }
    let mark = word(&bytes, 24).unwrap_or([0; 4]);
    let mut at = FILE_HEAD;
    while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
        let length = read_fixed(rest).and_then(|fixed| usize::try_from(fixed.record_bytes()).ok());
        let Some(record) = length.and_then(|length| rest.get_mut(..length)) else {
            at += 1;
            continue;
        };
        at += record.len();
        if let Some(place) = record.get_mut(8..12) {
            place.copy_from_slice(&mark);
        }
        let sum = crc32fast::hash(record.get(8..).unwrap_or_default());
        if let Some(place) = record.get_mut(4..8) {
            place.copy_from_slice(&sum.to_le_bytes());
        }
    }
    bytes
}

/// What a file held.
#[derive(Debug, Default)]
pub(crate) struct Contents<'a> {
    /// Every record that counts, with where it begins.
    pub(crate) records: Vec<(u64, Record<'a>)>,
    /// Up to where the file is good.
    pub(crate) good_bytes: u64,
    /// Bytes at the end that were never acknowledged.
    pub(crate) torn_bytes: u64,
    /// Bytes in the middle that cannot be read.
    pub(crate) lost_bytes: u64,
}

/// Reads the records of a file with this mark, from `start` on.
pub(crate) fn read(file: &[u8], start: usize, mark: u32) -> Contents<'_> {
    let mut contents = Contents { good_bytes: start.min(file.len()) as u64, ..Contents::default() };
    let finder = memmem::Finder::new(MAGIC);
    let mut at = start;
    // Behind the first byte that cannot be read: kept only if a later group proves that this one had been on disk.
    let mut doubted: Vec<(u64, Record<'_>)> = Vec::new();
    let mut first_bad: Option<usize> = None;
    let mut bad_bytes = 0;
    while at < file.len() {
        let rest = file.get(at..).unwrap_or_default();
        match read_record(rest).filter(|record| record.fixed.mark == mark) {
            Some(record) => {
                let next = at + usize::try_from(record.fixed.record_bytes()).unwrap_or(usize::MAX);
                if first_bad.is_some() {
                    doubted.push((at as u64, record));
                } else {
                    contents.records.push((at as u64, record));
                    contents.good_bytes = next as u64;
                }
                at = next;
            }
            None => {
                first_bad.get_or_insert(at);
                let ahead = rest.get(1..).unwrap_or_default();
                let next = finder.find(ahead).map_or(file.len(), |distance| at + 1 + distance);
                bad_bytes += (next - at) as u64;
                at = next;
            }
        }
    }
    let last = contents.records.last().map(|(_, record)| record.fixed);
    let torn_group = match last {
        Some(last) if last.flags & LAST == 0 => last.group,
        Some(last) => last.group.saturating_add(1),
        None => 1,
    };
    if doubted.iter().any(|(_, record)| record.fixed.group > torn_group) {
        let end = doubted.last().map_or(0, |(at, record)| at + record.fixed.record_bytes());
        contents.torn_bytes = file.len() as u64 - end;
        contents.lost_bytes = bad_bytes - contents.torn_bytes;
        contents.good_bytes = end;
        contents.records.append(&mut doubted);
    } else {
        contents.torn_bytes = file.len() as u64 - contents.good_bytes;
    }
    contents
}

#[cfg(test)]
mod tests;
