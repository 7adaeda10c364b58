//! A certificate and its key, read from two files and checked to belong together.

use std::{fmt, fs, path::PathBuf};

use bytes::Bytes;
use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use serde::{Deserialize, Serialize};

/// Where a certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// The chain, the certificate itself first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Where a certificate and its key are kept as secrets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InStore {
    /// Whose store.
    pub provider: String,
    /// The chain, the certificate itself first.
    pub cert_secret_id: String,
    /// Its private key.
    pub key_secret_id: String,
}

/// A certificate for the names in it, with the key that matches it. PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The chain, the certificate itself first.
    pub chain: Bytes,
    /// Its private key.
    pub key: Bytes,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate(…)")
    }
}

impl Certificate {
    /// Reads both files. Two files that were only half replaced do not match, and are refused.
    pub(super) fn read(files: &Files) -> Result<Option<Self>, String> {
        let read = |path: &PathBuf| {
            fs::read(path).map(Bytes::from).map_err(|error| {
                format!("certificates: {} cannot be read ({error}): use a PEM file", path.display())
            })
        };
        let certificate = Self { chain: read(&files.cert)?, key: read(&files.key)? };
        certificate.check().map_err(|told| {
            format!("certificates: {} with {}: {told}", files.cert.display(), files.key.display())
        })?;
        Ok(Some(certificate))
    }

    /// Whether the two belong together.
    ///
    /// # Errors
    /// Why they do not.
    pub fn check(&self) -> Result<(), String> {
        let chain = CertificateDer::pem_slice_iter(&self.chain).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| format!("the chain is not PEM ({error})"))?;
        if chain.is_empty() {
            return Err("there is no certificate in the chain".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| format!("there is no private key ({error})"))?;
        CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map(drop)
            .map_err(|error| format!("they do not belong together ({error})"))
    }
}
