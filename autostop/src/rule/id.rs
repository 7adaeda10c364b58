//! Pure. The name of a rule on the wire and in the journal.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names a rule in the API, the journal and on the wire. It follows from the rule's name alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuleId(String);

impl RuleId {
    /// The id of the rule of this name: the name itself if it consists of lower-case letters, digits and
    /// hyphens; otherwise what is left of it, and a digest, so that two names never meet.
    pub fn of(name: &str) -> Self {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.chars().all(plain) {
            return Self(name.to_owned());
        }
        let mut slug: String = name.to_lowercase().chars().map(|c| if plain(c) { c } else { '-' }).collect();
        slug.truncate(40);
        // FNV-1a: stable for good, which a hasher of the standard library is not.
        let digest = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| {
            (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(format!("{}-{digest:016x}", slug.trim_matches('-')))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
