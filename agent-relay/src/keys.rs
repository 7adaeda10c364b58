//! API keys: told apart by a tag, remembered in memory only, put in where a request leaves.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{Mutex, PoisonError},
};

use common::config::Secret;
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
            Ok(salt) if salt.len() == 32 => salt,
            _ => {
                let mut salt = [0_u8; 32];
                let random = ring::rand::SystemRandom::new();
                ring::rand::SecureRandom::fill(&random, &mut salt).map_err(|_| io::ErrorKind::Other)?;
                let mut options = fs::OpenOptions::new();
                let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
                io::Write::write_all(&mut file, &salt)?;
                file.sync_all()?;
                salt.to_vec()
            }
        };
        Ok(Self { salt: hmac::Key::new(hmac::HMAC_SHA256, &salt), known: Mutex::default() })
    }

    /// The tag of a key, which is remembered from now on.
    pub(crate) fn tag(&self, key: &str) -> String {
        let sum = hmac::sign(&self.salt, key.as_bytes());
        let tag: String = sum.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MOST_KEYS && !known.contains_key(&tag) {
            known.insert(tag.clone(), Secret::from(key));
        }
        tag
    }

    /// The key of a tag, if its client spoke since the start.
    pub(crate) fn key(&self, tag: &str) -> Option<Secret> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(tag).cloned()
    }
}
