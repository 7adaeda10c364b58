//! Records with large bodies: they stay in their file, and a damaged one is not taken for a good one.

use std::fs;

use super::*;

#[test]
fn a_large_body_is_read_from_its_file_and_never_when_it_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let (store, found) = recover(Arc::new(FileSystem), folder.path()).unwrap();
    let store = Arc::new(store);
    let mut writer = Writer::new(Arc::clone(&store), &found, Full::default());
    let text = |number: usize| format!("{number} {}", "x".repeat(700_000));
    let group: Vec<_> = (1..=3).map(|number| incoming("a", &text(number))).collect();
    writer.append(&group).unwrap();
    let next = || store.next(0).unwrap();
    let Next::Record(first) = next() else { panic!("it is there") };
    assert!(matches!(first.body, Content::File { .. }));
    assert_eq!(first.body.to_vec(), text(1).into_bytes());
    assert_eq!(&first.head[..], b"POST /intake/\n");
    store.done(0, first.position, first.segment, End::Delivered);

    let path = store.segment_path(1);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let Next::Lost(position, near) = next() else { panic!("it is damaged") };
    assert_eq!(position.number, 2);
    store.done(0, position, near, End::Dead);
    let Next::Record(third) = next() else { panic!("the one behind it is there") };
    assert_eq!(third.body.to_vec(), text(3).into_bytes());
}
