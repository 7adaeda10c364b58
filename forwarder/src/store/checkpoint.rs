//! Pure. The checkpoint: everything known at the end of the last sealed generation of the log.

use serde::{Deserialize, Serialize};

use super::ledger::Ledger;

/// The state that the log is replayed on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Counts the checkpoints of this store: of two, the greater is the later.
    pub revision: u64,
    /// Drawn at random when the store was made; part of every object's name.
    pub store_id: u64,
    /// Every generation of the log up to this one is in `segments`.
    pub sealed_through: u64,
    /// The accounts at the end of that generation.
    pub ledger: Ledger,
    /// What there is in Parquet, oldest first.
    pub segments: Vec<Segment>,
    /// Rows that retention removed.
    pub expired_rows: u64,
    /// Rows in segments that were damaged.
    pub damaged_rows: u64,
}

/// One Parquet object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Segment {
    /// Its name below the store's root.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// How many exchanges it holds.
    pub rows: u64,
    /// The earliest `ts` in it.
    pub min_ns: i64,
    /// The latest.
    pub max_ns: i64,
}

/// Not a checkpoint, or a damaged one.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It does not begin with a line of the right form.
    #[error("the first line is not that of a checkpoint of version 1")]
    Header,
    /// The checksum differs.
    #[error("the checksum is wrong")]
    Checksum,
    /// The content makes no sense.
    #[error("the content is none of a checkpoint")]
    Content(#[source] serde_json::Error),
}

const TITLE: &str = "wayside checkpoint 1 ";

impl Checkpoint {
    /// A line with a checksum, then JSON.
    ///
    /// # Errors
    /// Never in fact: all of it can be told in JSON.
    pub fn write(&self) -> Result<Vec<u8>, serde_json::Error> {
        let content = serde_json::to_vec(self)?;
        let mut file = format!("{TITLE}{:08x}\n", crc32fast::hash(&content)).into_bytes();
        file.extend_from_slice(&content);
        Ok(file)
    }

    /// Reads it back.
    ///
    /// # Errors
    /// [`Unreadable`], whatever the bytes are.
    pub fn read(file: &[u8]) -> Result<Self, Unreadable> {
        let rest = file.strip_prefix(TITLE.as_bytes()).ok_or(Unreadable::Header)?;
        let (sum, rest) = rest.split_at_checked(8).ok_or(Unreadable::Header)?;
        let content = rest.strip_prefix(b"\n").ok_or(Unreadable::Header)?;
        let sum = std::str::from_utf8(sum).ok().and_then(|sum| u32::from_str_radix(sum, 16).ok());
        if sum.ok_or(Unreadable::Header)? != crc32fast::hash(content) {
            return Err(Unreadable::Checksum);
        }
        serde_json::from_slice(content).map_err(Unreadable::Content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Checkpoint {
        let segment = Segment { path: "a".into(), bytes: 1, rows: 2, min_ns: -3, max_ns: 4 };
        Checkpoint { store_id: u64::MAX, sealed_through: 7, segments: vec![segment], ..Checkpoint::default() }
    }

    #[test]
    fn a_checkpoint_reads_back() {
        let mut told = some();
        told.ledger.register(
            &common::wire::RegisterRequest { proxy_id: "a".into(), epoch: u64::MAX, ..Default::default() },
            1,
        );
        assert_eq!(Checkpoint::read(&told.write().unwrap()).unwrap(), told);
    }

    #[test]
    fn no_damage_goes_unseen() {
        let file = some().write().unwrap();
        for at in 0..file.len() {
            assert!(Checkpoint::read(&file[..at]).is_err());
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            // Upper and lower case of a hexadecimal digit are one.
            assert!(Checkpoint::read(&damaged).is_err() || damaged.eq_ignore_ascii_case(&file), "{at}");
        }
    }
}
