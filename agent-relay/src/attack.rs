//! What the fuzzers call with bytes of their choice; the ordinary tests call it too.

use crate::{
    envelope,
    intake::path,
    queue::{read_anything, read_index},
    tcp::proxied,
};

/// A file of the queue, its index, or the head of a record: whatever the bytes are, nothing panics, and what can be
/// read is said in the same words again.
pub fn relay(bytes: &[u8]) {
    read_anything(bytes);
    read_index(bytes);
    proxied::attack(bytes);
    if let Some(kept) = envelope::decode(bytes) {
        assert_eq!(
            envelope::decode(&envelope::encode(&kept)).as_ref(),
            Some(&kept),
            "what is kept comes back"
        );
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let bare = path::bare(text);
        assert!(text.ends_with(bare), "a path only loses its beginning");
        path::shape(bare, false);
        path::way("POST", bare);
        let (rest, _) = path::without_secrets(text);
        assert!(!rest.starts_with("api_key=") && !rest.contains("&api_key="), "no key stays in a query");
        let (rest, key) = path::without_key(bare);
        assert_eq!(format!("{rest}{}", key.unwrap_or_default()), bare, "a key is the end of a path");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    #[test]
    fn a_checksum_is_no_wall_to_an_attacker() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/relay");
        let files = std::fs::read_dir(folder).unwrap();
        let records = files.map(|file| {
            let mut bytes = std::fs::read(file.unwrap().path()).unwrap();
            // Neither the checksums nor the mark are right any more.
            (24..28).for_each(|at| bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1));
            super::read_anything(&bytes)
        });
        assert!(records.sum::<usize>() > 0, "no file of the corpus is one of the queue");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            super::relay(&bytes);
        }

        #[test]
        fn nor_is_a_head_that_is_nearly_one(
            target in "/[a-z]{0,9}([?][ -~]{0,9})?", place in "(-|[?]api_key=0f|dd-api-key=0f,/=1|x y|=)", fields in "([a-z]{1,3}: [ -~]{0,5}\n){0,3}"
        ) {
            super::relay(format!("POST {target} {place} -\n{fields}").as_bytes());
        }
    }
}
