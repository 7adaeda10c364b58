//! Files cut, torn and flipped at every byte.

use proptest::prelude::*;

use super::*;

const MARK: u32 = 0xfeed;

fn request(group: u32, flags: u8, number: u64, body: &[u8]) -> Vec<u8> {
    let body_bytes = u32::try_from(body.len()).unwrap();
    let fixed = Fixed {
        mark: MARK,
        group,
        flags,
        kind: REQUEST,
        head_bytes: 4,
        body_bytes,
        agent: 3,
        number,
        total: 9,
        time_ms: 5,
    };
    record(&fixed, b"head", body)
}

/// Three groups: one record, two, one.
fn file() -> (Vec<u8>, Vec<usize>) {
    let mut bytes = Vec::new();
    let mut starts = Vec::new();
    for (group, flags, number) in [(1, LAST, 1), (2, 0, 2), (2, LAST, 3), (3, LAST, 4)] {
        starts.push(bytes.len());
        bytes.extend(request(group, flags, number, format!("body {number}").as_bytes()));
    }
    (bytes, starts)
}

fn numbers(contents: &Contents<'_>) -> Vec<u64> {
    contents.records.iter().map(|(_, record)| record.fixed.number).collect()
}

#[test]
fn a_file_cut_anywhere_has_what_stands_before() {
    let (bytes, starts) = file();
    for cut in 0..=bytes.len() {
        let contents = read(&bytes[..cut], 0, MARK);
        let whole = starts.iter().skip(1).chain([&bytes.len()]).filter(|end| **end <= cut).count();
        assert_eq!(contents.records.len(), whole, "cut at {cut}");
        assert_eq!(contents.good_bytes + contents.torn_bytes, cut as u64);
    }
}

#[test]
fn a_torn_last_group_is_gone_and_damage_before_it_is_told() {
    let (bytes, starts) = file();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        let contents = read(&damaged, 0, MARK);
        let hit = starts.iter().rposition(|start| *start <= at).unwrap();
        let expected: &[u64] = match hit {
            0 => &[2, 3, 4],
            // Only the group after it proves that it was on disk.
            1 => &[1, 3, 4],
            2 => &[1, 2, 4],
            _ => &[1, 2, 3],
        };
        assert_eq!(numbers(&contents), expected, "flipped {at}");
        assert_eq!(contents.lost_bytes > 0, hit < 3, "flipped {at}");
    }
}

#[test]
fn a_record_behind_a_tear_in_its_own_group_is_not_taken() {
    let bytes = [request(1, LAST, 1, b"a"), request(2, 0, 2, b"b"), request(2, LAST, 3, b"c")].concat();
    let mut torn = bytes.clone();
    torn[request(1, LAST, 1, b"a").len() + 20] ^= 1;
    assert_eq!(numbers(&read(&torn, 0, MARK)), [1]);
}

#[test]
fn a_body_that_looks_like_a_record_is_none() {
    let forged = record(&Fixed { mark: 1, group: 9, ..Fixed::default() }, b"", b"");
    let bytes = [request(1, LAST, 1, &forged), request(2, LAST, 2, &forged)].concat();
    let mut torn = bytes;
    torn[5] ^= 1;
    assert_eq!(numbers(&read(&torn, 0, MARK)), [2]);
}

proptest! {
    #[test]
    fn no_bytes_are_too_much_for_it(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        read(&bytes, 0, MARK);
        read_file_head(&bytes);
    }
}

#[test]
fn a_head_says_what_was_written() {
    let head = FileHead { number: 7, mark: 1, before: 99 };
    let bytes = file_head(&head);
    assert_eq!(bytes.len(), FILE_HEAD);
    assert_eq!(read_file_head(&bytes), Some(head));
    assert_eq!(read_file_head(&bytes[1..]), None);
}
