//! Pure. The tokens of SDKs: JWT, signed with HS256, with the claims of the documented relay.
//!
//! They do not run out: an SDK keeps the one that it got at its start. A token is worth nothing once its key is gone.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac::{self, HMAC_SHA256};
use serde::{Deserialize, Serialize};

use crate::{environment::Environment, secret::KeyHash};

/// `{"alg":"HS256","typ":"JWT"}`
const HEAD: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
/// What stands before the hash of a key.
const KEY_PREFIX: &str = "auth-key-";
/// No token of ours is nearly as long.
const MOST_BYTES: usize = 4096;

/// Signs tokens and knows its own.
#[derive(Debug)]
pub struct Tokens(hmac::Key);

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The environment that it is for.
    pub environment: String,
    /// The SDK key that it was given for.
    pub key: KeyHash,
    /// When it was given, in seconds since 1970.
    pub issued_s: u64,
    /// A number of its own; 0 for tokens of other relays.
    pub session: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claims {
    environment: String,
    #[serde(default)]
    environment_identifier: String,
    #[serde(default, rename = "accountID")]
    account: String,
    api_key: String,
    #[serde(default)]
    cluster_identifier: String,
    #[serde(default)]
    iat: u64,
    #[serde(default)]
    nbf: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
    #[serde(default)]
    jti: String,
}

#[derive(Deserialize)]
struct Head {
    alg: String,
}

impl Tokens {
    /// Tokens of this secret.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(HMAC_SHA256, secret))
    }

    /// A token for this environment and key.
    pub fn sign(&self, environment: &Environment, key: &KeyHash, now_s: u64, session: u64) -> String {
        let claims = Claims {
            environment: environment.id.to_string(),
            environment_identifier: environment.name.to_string(),
            // Some SDKs send it back as a header, and the text `undefined` when there is none.
            account: "local".to_owned(),
            api_key: format!("{KEY_PREFIX}{key}"),
            cluster_identifier: "1".to_owned(),
            iat: now_s,
            nbf: now_s,
            exp: None,
            jti: format!("{session:x}"),
        };
        let claims = serde_json::to_vec(&claims).unwrap_or_default();
        let told = format!("{HEAD}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = hmac::sign(&self.0, told.as_bytes());
        format!("{told}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// What this token says, if it is one of ours, or of another relay with the same secret.
    pub fn read(&self, token: &str, now_s: u64) -> Option<Grant> {
        if token.len() > MOST_BYTES {
            return None;
        }
        let (told, signature) = token.rsplit_once('.')?;
        let (head, claims) = told.split_once('.')?;
        if head != HEAD {
            let head: Head = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).ok()?).ok()?;
            (head.alg == "HS256").then_some(())?;
        }
        hmac::verify(&self.0, told.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        if claims.exp.is_some_and(|end| end <= now_s) {
            return None;
        }
        Some(Grant {
            key: KeyHash::parse(claims.api_key.strip_prefix(KEY_PREFIX)?)?,
            environment: claims.environment,
            issued_s: claims.iat,
            session: u64::from_str_radix(&claims.jti, 16).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{environment::History, example};

    fn environment() -> Environment {
        Environment::build(example::environment("e", Vec::new()), &History::default(), 1).unwrap()
    }

    #[test]
    fn a_token_says_what_it_was_given_for() {
        let (tokens, key) = (Tokens::new(b"one"), KeyHash::of("k"));
        let token = tokens.sign(&environment(), &key, 7, 0xab);
        let expected = Grant { environment: "e".to_owned(), key, issued_s: 7, session: 0xab };
        assert_eq!(tokens.read(&token, 8), Some(expected));
        let claims = token.split('.').nth(1).unwrap();
        let claims: serde_json::Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert_eq!(claims["clusterIdentifier"], "1");
        assert_eq!(claims["accountID"], "local");
        assert_eq!(claims["environmentIdentifier"], "e");
    }

    #[test]
    fn no_other_token_is_good() {
        let tokens = Tokens::new(b"one");
        let token = tokens.sign(&environment(), &KeyHash::of("k"), 7, 1);
        let sign = |head: &str, claims: &str| {
            let told = format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims));
            let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&tokens.0, told.as_bytes()));
            format!("{told}.{signature}")
        };
        let key = KeyHash::of("k");
        let good = format!(r#"{{"environment":"e","apiKey":"auth-key-{key}"}}"#);
        assert!(
            tokens.read(&sign(r#"{"typ":"JWT","alg":"HS256"}"#, &good), 1).is_some(),
            "as another relay writes it"
        );
        let late = format!(r#"{{"environment":"e","apiKey":"auth-key-{key}","exp":5}}"#);
        assert!(tokens.read(&sign(r#"{"alg":"HS256"}"#, &late), 4).is_some());
        let unsigned =
            format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(&good));
        let (told, signature) = token.rsplit_once('.').unwrap();
        for bad in [
            sign(r#"{"alg":"none"}"#, &good),
            sign(r#"{"alg":"HS256"}"#, &late),
            sign(r#"{"alg":"HS256"}"#, r#"{"environment":"e"}"#),
            sign(r#"{"alg":"HS256"}"#, r#"{"environment":"e","apiKey":"auth-key-zz"}"#),
            unsigned,
            Tokens::new(b"two").sign(&environment(), &key, 7, 1),
            format!("{told}."),
            format!("{told}x.{signature}"),
            String::new(),
            "..".to_owned(),
            "x".repeat(300 << 10),
        ] {
            assert_eq!(tokens.read(&bad, 6), None, "{bad:.80}");
        }
    }
}
