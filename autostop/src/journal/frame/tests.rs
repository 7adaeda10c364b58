//! The file torn and damaged at every place.

use super::*;

const MARK: u32 = 0x5a17_ed0f;

/// A file of these groups, and the end of each.
fn file(groups: &[&str]) -> (Vec<u8>, Vec<usize>) {
    let mut file = head(MARK).into_bytes();
    let ends = (1..).zip(groups).map(|(number, json)| {
        file.extend_from_slice(&group(MARK, number, json.as_bytes()));
        file.len()
    });
    let ends = ends.collect();
    (file, ends)
}

fn read_back<'a>(contents: &Contents<'a>) -> Vec<&'a str> {
    contents.groups.iter().map(|group| std::str::from_utf8(group.json).unwrap()).collect()
}

#[test]
fn a_file_torn_at_any_byte_keeps_what_was_whole() {
    let told = ["[1]", "[]", "[\"three\",\"three\"]", "[4]"];
    let (file, ends) = file(&told);
    for at in head(MARK).len()..=file.len() {
        let contents = read(&file[..at]);
        let whole = ends.iter().filter(|end| **end <= at).count();
        assert_eq!(read_back(&contents), told[..whole], "torn at {at}");
        assert_eq!(contents.damaged_at, None, "torn at {at}");
        assert_eq!(contents.good_bytes + contents.torn_bytes, at as u64, "torn at {at}");
        assert_eq!(contents.next, whole as u64 + 1, "torn at {at}");
    }
}

#[test]
fn a_file_with_any_bit_flipped_says_so_and_keeps_every_other_group() {
    let told = ["[1]", "[\"two\"]", "[3]"];
    let (file, ends) = file(&told);
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << bit;
            let contents = read(&damaged);
            let mut rest = told.to_vec();
            let hit = ends.iter().filter(|end| **end <= at).count();
            let in_head = at < head(MARK).len();
            // The line break of the head is where the first group is looked for.
            if !in_head {
                rest.remove(hit);
            } else if at + 1 == head(MARK).len() {
                rest.remove(0);
            }
            assert_eq!(read_back(&contents), rest, "bit {bit} of {at}");
            // The last group may as well be torn: nothing was written after it.
            let last = !in_head && hit == told.len() - 1;
            assert_eq!(contents.damaged_at.is_none(), last, "bit {bit} of {at}");
            assert_eq!(contents.torn_bytes != 0, last, "bit {bit} of {at}");
        }
    }
}

#[test]
fn a_group_that_is_missing_or_comes_twice_is_damage() {
    let (whole, ends) = file(&["[1]", "[2]", "[3]"]);
    let mut missing = whole.clone();
    missing.drain(ends[0]..ends[1]);
    let contents = read(&missing);
    assert_eq!((contents.damaged_at, contents.lost_groups), (Some(ends[0] as u64), 1));
    let mut twice = whole.clone();
    twice.extend_from_slice(&whole[ends[1]..]);
    assert_eq!(read(&twice).damaged_at, Some(whole.len() as u64));
}

#[test]
fn a_group_inside_a_record_is_not_taken_for_one() {
    let forged = String::from_utf8(group(1, 2, b"[\"forged\"]")).unwrap();
    let told = serde_json::to_string(&[&forged]).unwrap();
    let (mut file, ends) = file(&[&told, "[2]"]);
    file[ends[0] - 3] ^= 1;
    assert_eq!(read_back(&read(&file)), ["[2]"]);
    // Not even when the head is lost as well.
    file[0] ^= 1;
    assert_eq!(read_back(&read(&file)), ["[2]"]);
}

#[test]
fn what_is_no_journal_is_damage() {
    for file in [&b""[..], b"\n", b"wayside journal 1", &[0; 100], b"@5a17ed0f 1 3 00000000 [1]\n"] {
        let contents = read(file);
        assert!(contents.damaged_at == Some(0) && contents.groups.is_empty());
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_are_too_odd_to_read(noise: Vec<u8>, at: usize) {
        let (mut file, _) = file(&["[1]", "[2]"]);
        let at = at % file.len();
        file.splice(at..at, noise);
        read(&file);
    }
}
