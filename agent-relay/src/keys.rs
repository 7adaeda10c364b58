//! API keys: told apart by a tag, remembered in memory only, put in where a request leaves.

use std::{
    collections::HashMap,
    fs, io,
    path::Path,
    sync::{Mutex, PoisonError},
};

use common::{config::Secret, disk::replace_private};
use ring::hmac;

/// The keys that clients came with since the start. None is ever written down: what is queued knows only the tag,
/// and after a restart waits until its client has spoken again.
pub(crate) struct Keys {
    salt: hmac::Key,
    known: Mutex<HashMap<String, Secret>>,
}

/// More different keys than this are not remembered.
const MOST_KEYS: usize = 65_536;

impl Keys {
    /// With the salt of this data folder, which is drawn at its first start.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join("salt");
        let salt = match fs::read(&path) {
            Ok(salt) => salt,
            Err(error) if error.kind() == io::ErrorKind::NotFound => draw(&path)?,
            Err(error) => return Err(error),
        };
        // Another one would part what is queued from its keys.
        if salt.len() != SALT_BYTES {
            let told = format!("{} is damaged; what is queued waits for its keys by it", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, told));
        }
        Ok(Self { salt: hmac::Key::new(hmac::HMAC_SHA256, &salt), known: Mutex::default() })
    }

    /// The tag of a secret, which is remembered from now on; and whether it was not known before.
    pub(crate) fn tag(&self, secret: &str) -> (String, bool) {
        let tag = self.mark(secret);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = known.len() < MOST_KEYS && !known.contains_key(&tag);
        if is_new {
            known.insert(tag.clone(), Secret::from(secret));
        }
        (tag, is_new)
    }

    /// What stands for a text here, and tells nobody what it is.
    pub(crate) fn mark(&self, text: &str) -> String {
        let sum = hmac::sign(&self.salt, text.as_bytes());
        sum.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The secret of a tag, if its client spoke since the start.
    pub(crate) fn key(&self, tag: &str) -> Option<Secret> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(tag).cloned()
    }
}

const SALT_BYTES: usize = 32;

/// A new salt, on disk as a whole or not at all.
fn draw(path: &Path) -> io::Result<Vec<u8>> {
    let mut salt = vec![0_u8; SALT_BYTES];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut salt)
        .map_err(|_| io::ErrorKind::Other)?;
    replace_private(path, &salt)?;
    Ok(salt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_tag_until_the_end_and_the_tag_stays() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::open(folder.path()).unwrap();
        let (tag, is_new) = keys.tag("hush");
        assert!(is_new && !keys.tag("hush").1 && !tag.contains("hush"));
        assert_eq!(keys.key(&tag).unwrap().expose(), "hush");
        let later = Keys::open(folder.path()).unwrap();
        assert!(later.key(&tag).is_none());
        assert_eq!(later.tag("hush"), (tag, true));
    }

    #[test]
    fn a_damaged_salt_is_told_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("salt"), b"short").unwrap();
        assert!(Keys::open(folder.path()).is_err());
        assert_eq!(fs::read(folder.path().join("salt")).unwrap(), b"short");
    }
}
