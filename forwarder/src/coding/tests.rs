//! Every coding, whole, cut and hostile.

use std::io::Write as _;

use flate2::Compression;

use super::*;

const LIMIT: usize = 64 << 10;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn br(bytes: &[u8]) -> Vec<u8> {
    let mut coded = Vec::new();
    brotli::CompressorWriter::new(&mut coded, 4096, 5, 20).write_all(bytes).unwrap();
    coded
}

fn zstandard(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// A name and what it does.
type Coding = (&'static str, fn(&[u8]) -> Vec<u8>);
const CODINGS: [Coding; 6] = [
    ("gzip", gzip),
    ("X-Gzip", gzip),
    ("deflate", zlib),
    ("deflate", deflate),
    ("br", br),
    ("zstd", zstandard),
];

#[test]
fn every_coding_is_undone_and_cut_at_every_byte() {
    let text: Vec<u8> = (0..400_u32).flat_map(|number| number.to_string().into_bytes()).collect();
    for (name, code) in CODINGS {
        let coded = code(&text);
        assert_eq!(undo(&coded, name, LIMIT), Some(Plain { bytes: text.clone(), cut: None }), "{name}");
        for length in 0..coded.len() {
            let Some(plain) = undo(&coded[..length], name, LIMIT) else { continue };
            assert!(text.starts_with(&plain.bytes), "{name}, {length} bytes of it");
            let is_whole = plain.bytes.len() == text.len();
            assert!(
                is_whole || plain.bytes.is_empty() || plain.cut == Some(Cut::Damaged),
                "{name}, {length}"
            );
        }
    }
}

#[test]
fn what_was_coded_twice_is_undone_in_its_order() {
    let coded = br(&gzip(b"hello"));
    assert_eq!(undo(&coded, "gzip, br", LIMIT).unwrap().bytes, b"hello");
    assert_eq!(undo(&coded, "br, gzip", LIMIT), None);
    assert_eq!(undo(&gzip(&deflate(b"hello")), "identity,deflate,,gzip", LIMIT).unwrap().bytes, b"hello");
    assert_eq!(undo(&gzip(&zlib(b"hello")), "deflate , gzip", LIMIT).unwrap().bytes, b"hello");
}

#[test]
fn what_is_not_known_stays_as_it_is() {
    for told in ["", "identity", "compress", "aes128gcm", "gzip, exi", "gzip,gzip,gzip,gzip"] {
        assert_eq!(undo(&gzip(b"hello"), told, LIMIT), None, "{told}");
    }
    for (name, _) in CODINGS {
        assert_eq!(undo(b"\xff not coded at all", name, LIMIT), None, "{name}");
    }
}

#[test]
fn a_bomb_is_not_set_off() {
    let zeros = vec![0; 4 << 20];
    for (name, code) in CODINGS {
        let plain = undo(&code(&zeros), name, LIMIT).unwrap();
        assert_eq!((plain.bytes.len(), plain.cut), (LIMIT, Some(Cut::Limit)), "{name}");
    }
    // A frame that wants a window of 2 GiB.
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
    assert_eq!(undo(&window, "zstd", LIMIT), None);
}
