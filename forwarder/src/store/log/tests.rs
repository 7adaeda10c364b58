//! The log torn and damaged at every place.

use super::*;

const MARK: u32 = 0x5a17_ed01;

/// Groups of one record each, as a writer makes them; returns the file and the end of each record.
fn file(payloads: &[&[u8]]) -> (Vec<u8>, Vec<usize>) {
    let mut file = file_header(MARK, 7).to_vec();
    let ends = payloads.iter().map(|payload| {
        let synced = u32::try_from(file.len()).unwrap();
        append(&mut file, MARK, synced, Kind::Batch, 5, |log| log.extend_from_slice(payload));
        file.len()
    });
    let ends = ends.collect();
    (file, ends)
}

fn read_back(file: &[u8]) -> Contents {
    read(&Bytes::copy_from_slice(file), 7)
}

fn payloads(contents: &Contents) -> Vec<&[u8]> {
    contents.records.iter().map(|record| record.payload.as_ref()).collect()
}

#[test]
fn a_log_torn_at_any_byte_keeps_what_was_whole() {
    let told: [&[u8]; 4] = [b"one", b"", b"three three three", b"4"];
    let (file, ends) = file(&told);
    for at in 0..=file.len() {
        let contents = read_back(&file[..at]);
        let whole = ends.iter().filter(|end| **end <= at).count();
        assert_eq!(payloads(&contents), told[..whole], "torn at {at}");
        assert_eq!(contents.lost_bytes, 0, "torn at {at}");
        assert_eq!(contents.good_bytes + contents.torn_bytes, at as u64, "torn at {at}");
    }
}

#[test]
fn a_log_with_any_bit_flipped_keeps_every_other_record_and_says_so() {
    let told: [&[u8]; 3] = [b"one", b"two two two", b"three"];
    let (file, ends) = file(&told);
    for at in FILE_HEADER_BYTES..file.len() {
        for bit in 0..8 {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << bit;
            let contents = read_back(&damaged);
            let hit = ends.iter().filter(|end| **end <= at).count();
            let mut rest = told.to_vec();
            rest.remove(hit);
            assert_eq!(payloads(&contents), rest, "bit {bit} of {at}");
            // The last record may as well be torn: nothing was written after it.
            let last = hit == told.len() - 1;
            assert_eq!(contents.lost_bytes == 0, last, "bit {bit} of {at}");
            assert_eq!(contents.torn_bytes != 0, last, "bit {bit} of {at}");
        }
    }
}

#[test]
fn a_group_that_was_never_synced_is_torn_as_a_whole() {
    let (mut file, _) = file(&[b"one"]);
    let good = file.len();
    for payload in [b"two", b"six"] {
        append(&mut file, MARK, u32::try_from(good).unwrap(), Kind::Batch, 5, |log| {
            log.extend_from_slice(payload);
        });
    }
    file[good + RECORD_HEADER_BYTES] ^= 1;
    let contents = read_back(&file);
    assert_eq!(payloads(&contents), [b"one"]);
    assert_eq!((contents.good_bytes, contents.lost_bytes), (good as u64, 0));
}

#[test]
fn a_record_inside_a_payload_is_not_taken_for_one() {
    let mut forged = Vec::new();
    append(&mut forged, 1, u32::MAX, Kind::Reap, 5, |log| log.extend_from_slice(b"forged"));
    let (mut file, ends) = file(&[&forged, b"two"]);
    file[ends[0] - forged.len()] ^= 1;
    file[FILE_HEADER_BYTES + 4] ^= 1;
    assert_eq!(payloads(&read_back(&file)), [b"two"]);
}

#[test]
fn a_damaged_header_loses_the_file_but_an_empty_one_is_torn() {
    let (mut file, _) = file(&[b"one"]);
    file[0] ^= 1;
    assert_eq!(read_back(&file), Contents { lost_bytes: file.len() as u64, ..Contents::default() });
    assert_eq!(read_back(&[0; 100]), Contents { torn_bytes: 100, ..Contents::default() });
    assert_eq!(read_back(&[]), Contents::default());
}

#[test]
fn a_file_of_another_generation_is_not_read() {
    let (file, _) = file(&[b"one"]);
    assert!(read(&Bytes::from(file), 8).records.is_empty());
}
