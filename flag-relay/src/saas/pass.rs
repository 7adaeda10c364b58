//! Pure. The tokens that a proxy key is given: good while the value of the key is, for a day at the most.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac::{self, HMAC_SHA256};
use serde::{Deserialize, Serialize};

use crate::secret::KeyHash;

const HEAD: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
const LIFE_MS: u64 = 24 * 3_600_000;

/// Signs tokens and knows its own.
pub(super) struct Passes(hmac::Key);

#[derive(Serialize, Deserialize)]
struct Claims {
    account: String,
    cluster_identifier: String,
    key: String,
    /// Tokens of older generations were ended.
    generation: u64,
    /// In seconds since 1970.
    exp: u64,
}

impl Passes {
    pub(super) fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(HMAC_SHA256, secret))
    }

    /// A token for whoever has this value of a key.
    pub(super) fn sign(&self, account: &str, key: &KeyHash, generation: u64, now_ms: u64) -> String {
        let claims = Claims {
            account: account.to_owned(),
            cluster_identifier: "1".to_owned(),
            key: key.to_string(),
            generation,
            exp: now_ms.saturating_add(LIFE_MS) / 1000,
        };
        let claims = serde_json::to_vec(&claims).unwrap_or_default();
        let told = format!("{HEAD}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = hmac::sign(&self.0, told.as_bytes());
        format!("{told}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The value of the key that this token was given for.
    pub(super) fn read(&self, token: &str, generation: u64, now_ms: u64) -> Option<KeyHash> {
        let (told, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&self.0, told.as_bytes(), &signature).ok()?;
        let claims = URL_SAFE_NO_PAD.decode(told.split_once('.')?.1).ok()?;
        let claims: Claims = serde_json::from_slice(&claims).ok()?;
        let is_good = claims.generation == generation && now_ms / 1000 < claims.exp;
        is_good.then(|| KeyHash::parse(&claims.key)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_with_its_time_and_its_generation() {
        let (passes, key) = (Passes::new(b"secret"), KeyHash::of("k"));
        let token = passes.sign("a", &key, 1, 0);
        assert_eq!(passes.read(&token, 1, LIFE_MS - 1000), Some(key));
        assert_eq!(passes.read(&token, 1, LIFE_MS), None);
        assert_eq!(passes.read(&token, 2, 0), None);
        assert_eq!(Passes::new(b"other").read(&token, 1, 0), None);
        assert_eq!(passes.read("a.b", 1, 0), None);
    }
}
