//! What the fuzzers call with bytes of their choice; the ordinary tests call it too.

use bytes::Bytes;
use prost::Message as _;

use crate::coding;
use crate::query::filter::{PathPattern, parse_status};
use crate::query::{Cursor, Filter};
use crate::store::checkpoint::Checkpoint;
use crate::store::ledger::Ledger;
use crate::store::{head, log};

/// A file of the log: whatever is read is within it, and written again it reads the same.
#[expect(clippy::panic, reason = "an attack that succeeds must be seen")]
pub fn wal(bytes: &[u8]) {
    let contents = log::read(&Bytes::copy_from_slice(bytes), 1);
    let payloads: usize = contents.records.iter().map(|record| record.payload.len()).sum();
    let length = bytes.len() as u64;
    if payloads > bytes.len()
        || contents.good_bytes > length
        || contents.torn_bytes + contents.lost_bytes > length
    {
        panic!("more was read than is there");
    }
    let mut again = log::file_header(7, 1).to_vec();
    for record in &contents.records {
        let synced = u32::try_from(again.len()).unwrap_or(u32::MAX);
        log::append(&mut again, 7, synced, record.kind, record.at_ms, |log| {
            log.extend_from_slice(&record.payload);
        });
    }
    if log::read(&Bytes::from(again), 1).records != contents.records {
        panic!("what was read is not what was written");
    }
    let mut ledger = Ledger::default();
    for record in contents.records {
        replay(&mut ledger, record);
    }
    ledger.accounting();
}

fn replay(ledger: &mut Ledger, record: log::Record) {
    use common::wire::{CaptureRequest, CheckInRequest, RegisterRequest};
    // What makes no sense is refused; that is an answer like any other.
    match record.kind {
        log::Kind::Batch => {
            if let Ok(told) = CaptureRequest::decode(record.payload)
                && ledger.batch(&told, true, record.at_ms).is_ok()
            {
                drop(told.decode_exchanges());
            }
        }
        log::Kind::Register => {
            drop(RegisterRequest::decode(record.payload).map(|told| ledger.register(&told, 1)));
        }
        log::Kind::CheckIn => {
            drop(CheckInRequest::decode(record.payload).map(|told| ledger.check_in(&told, 1)));
        }
        log::Kind::Reap => {
            drop(CheckInRequest::decode(record.payload).map(|told| ledger.reap(&told.proxy_id, told.epoch)));
        }
    }
}

/// A checkpoint: read or refused, and read the same again.
#[expect(clippy::panic, reason = "an attack that succeeds must be seen")]
pub fn checkpoint(bytes: &[u8]) {
    // A fuzzer does not find the checksum, so it is given the content as well.
    let mut with_sum = format!("wayside checkpoint 1 {:08x}\n", crc32fast::hash(bytes)).into_bytes();
    with_sum.extend_from_slice(bytes);
    for file in [bytes, &with_sum] {
        if let Ok(checkpoint) = Checkpoint::read(file) {
            checkpoint.ledger.accounting();
            let again = checkpoint.write().unwrap_or_default();
            if !Checkpoint::read(&again).is_ok_and(|again| again == checkpoint) {
                panic!("a checkpoint does not read back");
            }
        }
    }
}

/// A head, and everything that a URL can ask.
#[expect(clippy::panic, reason = "an attack that succeeds must be seen")]
pub fn asked(bytes: &[u8]) {
    let line = head::request_line(bytes);
    head::target_parts(&line.target);
    if head::status(bytes) != head::status_line(bytes).status {
        panic!("a status is told in two ways");
    }
    head::fields(bytes).for_each(drop);
    let text = String::from_utf8_lossy(bytes);
    if let Some((pattern, path)) = text.split_once('\n') {
        PathPattern::new(pattern).fits(path);
    }
    if let Some(cursor) = Cursor::parse(&text)
        && Cursor::parse(&cursor.to_string()) != Some(cursor)
    {
        panic!("a cursor does not read back");
    }
    if parse_status(&text).is_some_and(|codes| *codes.start() < 100) {
        panic!("no status is that small");
    }
    let mut parameters = crate::api::parameters::Parameters::read(Some(&text), jiff::Timestamp::UNIX_EPOCH);
    drop(parameters.filter().map(|_: Filter| ()));
}

/// A body in codings that its first byte chooses: no more is decoded than was asked for.
#[expect(clippy::panic, reason = "an attack that succeeds must be seen")]
pub fn coded(bytes: &[u8]) {
    const LIMIT: usize = 64 << 10;
    let Some((chosen, body)) = bytes.split_first() else { return };
    let told = match chosen % 5 {
        0 => "gzip",
        1 => "deflate",
        2 => "br",
        3 => "zstd",
        _ => "gzip, deflate",
    };
    if coding::undo(body, told, LIMIT).is_some_and(|plain| plain.bytes.len() > LIMIT) {
        panic!("more was decoded than was asked for");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples::{registration, request};
    use common::wire::CaptureRequest;

    fn seeds() -> Vec<Vec<u8>> {
        let mut log = log::file_header(9, 1).to_vec();
        for (kind, payload) in [
            (log::Kind::Register, registration("a", 1).encode_to_vec()),
            (log::Kind::Batch, request("a", 1, 1..=2).encode_to_vec()),
            (
                log::Kind::Batch,
                CaptureRequest { first_sequence: u64::MAX, ..request("a", 1, 1..=1) }.encode_to_vec(),
            ),
        ] {
            let synced = u32::try_from(log.len()).unwrap();
            log::append(&mut log, 9, synced, kind, 1, |log| log.extend_from_slice(&payload));
        }
        let checkpoint = Checkpoint { store_id: 1, ..Checkpoint::default() };
        let content = serde_json::to_vec(&checkpoint).unwrap();
        let lines: [&[u8]; 8] = [
            b"",
            b"GET http://a/b?c HTTP/1.1\r\nHost: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"since=15m&status=5xx&path=*a*&until=%FF",
            b"*a**\naa",
            b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            b"since=999999999999999999y",
            b"min_duration_ms=1e308",
        ];
        let mut seeds = vec![log, content, checkpoint.write().unwrap()];
        seeds.extend(lines.map(<[u8]>::to_vec));
        seeds
    }

    #[test]
    fn the_seeds_and_their_mutations_are_survived() {
        let mut random = fastrand::Rng::with_seed(3);
        for seed in seeds() {
            for round in 0..300 {
                let mut bytes = seed.clone();
                for _ in 0..round % 4 {
                    if !bytes.is_empty() {
                        let at = random.usize(..bytes.len());
                        bytes[at] = random.u8(..);
                    }
                }
                if round % 7 == 0 {
                    bytes.truncate(random.usize(..=bytes.len()));
                }
                wal(&bytes);
                checkpoint(&bytes);
                asked(&bytes);
                coded(&bytes);
            }
        }
    }
}
