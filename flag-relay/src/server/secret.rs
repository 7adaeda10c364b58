//! The secret that signs tokens: the one that was told, or one that is made once and kept.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
};

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
    let beside = path.with_extension("new");
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    fs::rename(&beside, &path)?;
    Ok(secret)
}
