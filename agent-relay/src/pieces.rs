//! Memory of one size, used again: what one thread gave back is there for every other, and for the system in the end.
//!
//! The allocator keeps what a thread gave back for that thread, so that a budget that is used up by one thread after
//! the other would be taken from the system by each.

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use memmap2::MmapMut;

/// How long a piece is.
pub(crate) const PIECE: usize = 64 << 10;

/// What is free, and how many are not.
#[derive(Debug)]
struct Pool {
    free: Vec<MmapMut>,
    used: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { free: Vec::new(), used: 0 });

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A piece of memory, until it is dropped.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Only `None` while it is dropped.
    memory: Option<MmapMut>,
    length: usize,
}

impl Piece {
    /// An empty one, with room for [`PIECE`] bytes.
    ///
    /// # Errors
    /// When the system has none.
    pub(crate) fn take() -> io::Result<Self> {
        let free = {
            let mut pool = pool();
            pool.used += 1;
            pool.free.pop()
        };
        let mut piece = Self { memory: free, length: 0 };
        if piece.memory.is_none() {
            piece.memory = Some(MmapMut::map_anon(PIECE)?);
        }
        Ok(piece)
    }

    /// Takes up what there is room for; returns the rest.
    pub(crate) fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let room = self.memory.as_mut().and_then(|memory| memory.get_mut(self.length..)).unwrap_or_default();
        let fits = room.len().min(bytes.len());
        let (taken, rest) = bytes.split_at_checked(fits).unwrap_or_default();
        if let Some(place) = room.get_mut(..fits) {
            place.copy_from_slice(taken);
        }
        self.length += fits;
        rest
    }

    /// So many bytes, at most [`PIECE`], to be written over.
    pub(crate) fn anew(&mut self, length: usize) -> &mut [u8] {
        self.length = length.min(PIECE);
        self.memory.as_mut().and_then(|memory| memory.get_mut(..self.length)).unwrap_or_default()
    }
}

impl From<Piece> for Bytes {
    fn from(piece: Piece) -> Self {
        Self::from_owner(piece)
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        self.memory.as_ref().and_then(|memory| memory.get(..self.length)).unwrap_or_default()
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let unused = {
            let mut pool = pool();
            pool.used -= 1;
            pool.free.extend(self.memory.take());
            // While some are in use, more may be wanted at once.
            if pool.used == 0 { std::mem::take(&mut pool.free) } else { Vec::new() }
        };
        drop(unused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_used_again_and_has_nothing_of_its_last_use() {
        let held = Piece::take().unwrap();
        let mut first = Piece::take().unwrap();
        let bytes = vec![b'x'; PIECE + 1];
        assert_eq!(first.fill(&bytes).len(), 1);
        assert_eq!(first.fill(b"y"), b"y");
        let shared = Bytes::from(first);
        let part = shared.slice(1..3);
        drop(shared);
        assert_eq!(&part[..], b"xx");
        std::thread::spawn(move || drop(part)).join().unwrap();
        let mut again = Piece::take().unwrap();
        assert!(again.as_ref().is_empty());
        assert_eq!((again.anew(3).len(), again.as_ref().len()), (3, 3));
        drop((held, again));
    }
}
