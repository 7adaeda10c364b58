//! The secret that signs tokens: the one that was told, or one that is made once and kept.

use std::{fs, io};

use common::disk;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::config::Config;

/// In the data folder.
const FILE: &str = "auth-secret";
const BYTES: usize = 32;

pub(super) fn read_or_make(config: &Config) -> io::Result<Vec<u8>> {
    if let Some(told) = &config.auth_secret {
        return Ok(told.expose().as_bytes().to_vec());
    }
    let path = config.data_dir.join(FILE);
    match fs::read(&path) {
        Ok(kept) if kept.len() >= BYTES => return Ok(kept),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut secret = vec![0; BYTES];
    SystemRandom::new().fill(&mut secret).map_err(|_| io::Error::other("the system has no random bytes"))?;
    disk::replace_private(&path, &secret)?;
    Ok(secret)
}
