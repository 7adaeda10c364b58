//! Pure. The only way between generated messages and domain types: written in `write`, read in `read`.

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use self::read::{Malformed, Place};
pub use self::write::{Entry, Opening};
use super::generated as wire;
