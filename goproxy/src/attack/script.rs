//! Makes a conversation out of arbitrary bytes, and cuts one up.

use common::exchange::End;

use super::Event;
use crate::decode::Side;

/// Reads arbitrary bytes as a conversation: a seed, how the connection ends, then pieces, each behind a
/// byte that tells its side (the top bit) and its length (the others; 0 is the end of that side).
pub fn conversation(bytes: &[u8]) -> (Vec<Event>, End, u64) {
    let mut events = Vec::new();
    let ([seed, end], mut rest) = bytes.split_first_chunk().unwrap_or((&[0, 0], &[]));
    let mut closed = [false; 2];
    while let Some((&told, behind)) = rest.split_first() {
        let from = if told & 0x80 == 0 { Side::Client } else { Side::Server };
        let length = usize::from(told & 0x7f).min(behind.len());
        let (piece, behind) = behind.split_at(length);
        rest = behind;
        let Some(closed) = closed.get_mut(from as usize).filter(|closed| !**closed) else {
            continue;
        };
        if told & 0x7f == 0 {
            *closed = true;
            events.push(Event::HalfClosed(from));
        } else {
            events.push(Event::Bytes(from, piece.to_vec()));
        }
    }
    let ends = End::ALL;
    let end = ends.get(usize::from(*end) % ends.len()).copied().unwrap_or(End::Cut);
    (events, end, u64::from(*seed))
}

/// The same conversation with its pieces cut into `1..=longest` bytes each, by chance.
pub fn cut(events: &[Event], longest: usize, seed: u64) -> Vec<Event> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut cut = Vec::new();
    for event in events {
        let Event::Bytes(from, bytes) = event else {
            cut.push(event.clone());
            continue;
        };
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(random.usize(1..=longest).min(rest.len()));
            cut.push(Event::Bytes(*from, piece.to_vec()));
            rest = behind;
        }
    }
    cut
}
