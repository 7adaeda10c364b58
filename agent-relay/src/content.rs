//! The content of a request: in memory in pieces, or in a file that is read a part at a time.

use std::{fmt, io, sync::Arc};

use bytes::Bytes;
use common::disk::ReadAt;

use crate::pieces::{PIECE, Piece};

/// See the module. Clones share what they are of.
#[derive(Clone)]
pub(crate) enum Content {
    /// All of it, in order.
    Pieces(Vec<Bytes>),
    /// So many bytes of a file, from there on.
    File {
        /// What is read.
        file: Arc<dyn ReadAt>,
        /// Where the content begins.
        at: u64,
        /// How long it is.
        length: u64,
    },
}

impl Default for Content {
    fn default() -> Self {
        Self::Pieces(Vec::new())
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self::Pieces(vec![bytes])
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").field("length", &self.len()).finish_non_exhaustive()
    }
}

impl Content {
    /// Its length in bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Pieces(pieces) => pieces.iter().map(|piece| piece.len() as u64).sum(),
            Self::File { length, .. } => *length,
        }
    }

    /// Shows all of it, in order.
    ///
    /// # Errors
    /// What `show` returns, and what the system says of a file.
    pub(crate) fn each(&self, show: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        match self {
            Self::Pieces(pieces) => pieces.iter().try_for_each(|piece| show(piece)),
            Self::File { length, .. } => {
                let mut from = 0;
                while from < *length {
                    let part = self.part(from)?;
                    from += part.len() as u64;
                    show(&part)?;
                }
                Ok(())
            }
        }
    }

    /// What begins there: never empty before the end.
    ///
    /// # Errors
    /// What the system says of a file.
    pub(crate) fn part(&self, from: u64) -> io::Result<Bytes> {
        match self {
            Self::Pieces(pieces) => {
                let mut before = 0;
                for piece in pieces {
                    let after = before + piece.len() as u64;
                    if from < after {
                        let at = usize::try_from(from - before).map_err(io::Error::other)?;
                        return Ok(piece.slice(at..));
                    }
                    before = after;
                }
                Ok(Bytes::new())
            }
            Self::File { file, at, length } => {
                let left = length.saturating_sub(from).min(PIECE as u64);
                let mut piece = Piece::take()?;
                file.read_at(at + from, piece.anew(usize::try_from(left).map_err(io::Error::other)?))?;
                Ok(piece.into())
            }
        }
    }
}

#[cfg(test)]
impl Content {
    /// All of it at once.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut show = |part: &[u8]| {
            bytes.extend_from_slice(part);
            Ok(())
        };
        self.each(&mut show).unwrap();
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn pieces_and_a_file_say_the_same_from_everywhere() {
        let bytes: Vec<u8> = (0..PIECE * 2 + 7).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before").unwrap();
        file.write_all(&bytes).unwrap();
        file.write_all(b"behind").unwrap();
        let length = bytes.len() as u64;
        let in_file = Content::File { file: Arc::new(file), at: 6, length };
        let whole = Bytes::from(bytes.clone());
        let pieces = Content::Pieces(vec![whole.slice(..1), whole.slice(1..1), whole.slice(1..)]);
        for content in [in_file, pieces] {
            assert_eq!((content.len(), content.to_vec()), (length, bytes.clone()));
            for from in [0, 1, 2, PIECE, bytes.len() - 1] {
                let part = content.part(from as u64).unwrap();
                assert!(!part.is_empty() && bytes[from..].starts_with(&part), "from {from}");
            }
            assert!(content.part(length).unwrap().is_empty());
        }
    }
}
