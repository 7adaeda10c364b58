//! Pure. The write-ahead log: how records stand in a file, and what can be read back from a damaged one.
//!
//! A file is a header (magic, version, mark, generation, CRC) and then records:
//! `mark u32 | length u32 | crc u32 | synced u32 | at_ms u64 | kind u8 | payload`, little-endian.
//! The mark is drawn at random for each file and is part of every CRC: bytes that somebody sent through a proxy
//! cannot be taken for a record, and the next record behind a damaged one is found by it.
//! `synced` is how much of the file was known to be on disk when the record was written. A record that says so of
//! a damaged place proves that something acknowledged was lost there; without such a proof it is a torn tail.

use bytes::Bytes;
use memchr::memmem;

/// The longest payload of a record; a batch off the wire is far shorter.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 20;
/// Length of the file header.
pub const FILE_HEADER_BYTES: usize = 28;
/// Length of what stands before each payload.
pub const RECORD_HEADER_BYTES: usize = 25;

const MAGIC: &[u8; 8] = b"WAYSDWAL";
const VERSION: u32 = 1;

/// What a record holds. The numbers stand in files and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A `CaptureRequest`, as it came off the wire.
    Batch = 1,
    /// A `RegisterRequest`.
    Register = 2,
    /// A `CheckInRequest` that brought something new.
    CheckIn = 3,
    /// A `CheckInRequest` of which only the proxy id and the epoch count: it was reaped.
    Reap = 4,
}

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        [Self::Batch, Self::Register, Self::CheckIn, Self::Reap]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }
}

/// One record, read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What the payload is.
    pub kind: Kind,
    /// When it was written, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The protobuf message.
    pub payload: Bytes,
}

/// What one file of the log held.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Every whole record, in order.
    pub records: Vec<Record>,
    /// Length of the file up to the end of the last whole record.
    pub good_bytes: u64,
    /// Bytes behind that: a write that was never acknowledged, if this is the last file.
    pub torn_bytes: u64,
    /// Bytes that were acknowledged and cannot be read.
    pub lost_bytes: u64,
}

/// The header of a file.
pub fn file_header(mark: u32, generation: u64) -> [u8; FILE_HEADER_BYTES] {
    let mut header = [0; FILE_HEADER_BYTES];
    let fields = MAGIC
        .iter()
        .copied()
        .chain(VERSION.to_le_bytes())
        .chain(mark.to_le_bytes())
        .chain(generation.to_le_bytes());
    for (place, byte) in header.iter_mut().zip(fields) {
        *place = byte;
    }
    let (covered, sum) = header.split_at_mut(FILE_HEADER_BYTES - 4);
    sum.copy_from_slice(&crc32fast::hash(covered).to_le_bytes());
    header
}

/// Appends one record to a buffer that is written as a whole; the payload is what is appended to the buffer by
/// `write_payload`.
///
/// `synced` is the length of the file that is known to be on disk.
pub fn append(
    buffer: &mut Vec<u8>,
    mark: u32,
    synced: u32,
    kind: Kind,
    at_ms: u64,
    write_payload: impl FnOnce(&mut Vec<u8>),
) {
    let start = buffer.len();
    buffer.resize(start + RECORD_HEADER_BYTES, 0);
    write_payload(buffer);
    let Some((header, payload)) =
        buffer.get_mut(start..).and_then(|record| record.split_at_mut_checked(RECORD_HEADER_BYTES))
    else {
        return;
    };
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut covered = [0; 13];
    let fields = synced.to_le_bytes().into_iter().chain(at_ms.to_le_bytes()).chain([kind as u8]);
    for (place, byte) in covered.iter_mut().zip(fields) {
        *place = byte;
    }
    let sum = checksum(mark, length, &covered, payload).to_le_bytes();
    let fields = mark.to_le_bytes().into_iter().chain(length).chain(sum).chain(covered);
    header.iter_mut().zip(fields).for_each(|(place, byte)| *place = byte);
}

fn checksum(mark: u32, length: [u8; 4], covered: &[u8], payload: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new_with_initial(mark);
    sum.update(&length);
    sum.update(covered);
    sum.update(payload);
    sum.finalize()
}

/// Reads a whole file; whatever the bytes are, every whole record of this generation is found.
pub fn read(file: &Bytes, generation: u64) -> Contents {
    let Some(mark) = read_header(file, generation) else {
        // Nothing that was acknowledged follows a header that did not get to disk: what stands there was damaged.
        let lost = file.len() > FILE_HEADER_BYTES && file.iter().any(|byte| *byte != 0);
        let length = file.len() as u64;
        return Contents {
            torn_bytes: if lost { 0 } else { length },
            lost_bytes: if lost { length } else { 0 },
            ..Contents::default()
        };
    };
    let finder = memmem::Finder::new(&mark);
    let mut contents = Contents { good_bytes: FILE_HEADER_BYTES as u64, ..Contents::default() };
    let mut at = FILE_HEADER_BYTES;
    let mut bad_from = None;
    while at < file.len() {
        if let Some((record, synced, end)) = read_record(file, at, u32::from_le_bytes(mark)) {
            if let Some(bad) = bad_from.take() {
                if u64::from(synced) <= bad as u64 {
                    // Nothing says that the damaged place was ever acknowledged, so neither was this.
                    contents.torn_bytes = (file.len() - bad) as u64;
                    return contents;
                }
                contents.lost_bytes += (at - bad) as u64;
            }
            contents.records.push(record);
            contents.good_bytes = end as u64;
            at = end;
            continue;
        }
        bad_from.get_or_insert(at);
        let rest = file.get(at + 1..).unwrap_or_default();
        at = finder.find(rest).map_or(file.len(), |distance| at + 1 + distance);
    }
    contents.torn_bytes = file.len() as u64 - contents.good_bytes;
    contents
}

fn read_header(file: &[u8], generation: u64) -> Option<[u8; 4]> {
    let header = file.get(..FILE_HEADER_BYTES)?;
    let mark: [u8; 4] = header.get(12..16)?.try_into().ok()?;
    (header == file_header(u32::from_le_bytes(mark), generation)).then_some(mark)
}

fn read_record(file: &Bytes, at: usize, mark: u32) -> Option<(Record, u32, usize)> {
    let header = file.get(at..at + RECORD_HEADER_BYTES)?;
    let (told_mark, rest) = header.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sum, covered) = rest.split_first_chunk::<4>()?;
    let (synced, rest) = covered.split_first_chunk::<4>()?;
    let (at_ms, rest) = rest.split_first_chunk::<8>()?;
    let kind = Kind::from_number(*rest.first()?)?;
    let payload_bytes = u32::from_le_bytes(*length) as usize;
    if u32::from_le_bytes(*told_mark) != mark || payload_bytes > MAX_PAYLOAD_BYTES {
        return None;
    }
    let start = at + RECORD_HEADER_BYTES;
    let end = start + payload_bytes;
    let payload = file.get(start..end)?;
    if checksum(mark, *length, covered, payload) != u32::from_le_bytes(*sum) {
        return None;
    }
    let record = Record { kind, at_ms: u64::from_le_bytes(*at_ms), payload: file.slice(start..end) };
    Some((record, u32::from_le_bytes(*synced), end))
}

#[cfg(test)]
mod tests;
