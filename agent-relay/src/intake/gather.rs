//! Reads a body as a whole, within the memory for bodies and within a time.
//!
//! It is kept in pieces: what came is never copied again to make room for more, so that it takes no more memory than
//! was taken for it.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{self, Instant},
};

use crate::{
    content::Content,
    pieces::{PIECE, Piece},
};

/// How long a body may pause.
const PAUSE: Duration = Duration::from_secs(20);
/// How long one may take in all, and a second more for each 16 KiB that came.
const WHOLE: Duration = Duration::from_secs(30);
/// How long memory is waited for.
const QUEUEING: Duration = Duration::from_secs(2);
/// What a body whose length is not told begins with.
const FIRST: usize = 4 << 10;

/// What came.
pub(super) enum Gathered<'a> {
    /// All of it, with the memory that it takes.
    Whole(Content, SemaphorePermit<'a>),
    /// More than is taken.
    TooLarge,
    /// There is no memory for it just now.
    NoMemory,
    /// It stopped coming.
    Late,
    /// Its framing is bad, or the client left.
    Broken,
}

/// See the module. `memory` is in KiB.
pub(super) async fn gather<B>(body: B, most: u64, memory: &Semaphore) -> Gathered<'_>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let mut body = body;
    let told = body.size_hint().exact();
    if told.is_some_and(|length| length > most) {
        return Gathered::TooLarge;
    }
    let mut came = Came::default();
    // No more than what came: who only says that much will come takes it from nobody.
    let first = told.map_or(FIRST, |told| usize::try_from(told).unwrap_or(PIECE)).min(PIECE);
    let taken = time::timeout(QUEUEING, memory.acquire_many(kib(first))).await;
    let Ok(Ok(mut permit)) = taken else { return Gathered::NoMemory };
    if first < PIECE {
        came.small.reserve_exact(first);
    } else {
        let Ok(piece) = Piece::take() else { return Gathered::NoMemory };
        came.pieces.push(piece);
    }
    let begun = Instant::now();
    loop {
        let deadline = begun + WHOLE + Duration::from_secs(came.length >> 14);
        let until = deadline.min(Instant::now() + PAUSE);
        let frame = match time::timeout_at(until, body.frame()).await {
            Err(_) => return Gathered::Late,
            Ok(None) => return Gathered::Whole(came.end(), permit),
            Ok(Some(Err(_))) => return Gathered::Broken,
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        came.length += data.len() as u64;
        if came.length > most {
            return Gathered::TooLarge;
        }
        let mut rest = &data[..];
        while !rest.is_empty() {
            rest = came.fill(rest);
            if rest.is_empty() {
                break;
            }
            // Waiting for more while holding some would be waiting for each other.
            let Ok(more) = memory.try_acquire_many(kib(PIECE)) else { return Gathered::NoMemory };
            permit.merge(more);
            let Ok(piece) = Piece::take() else { return Gathered::NoMemory };
            came.pieces.push(piece);
        }
    }
}

/// What came of a body.
#[derive(Default)]
struct Came {
    length: u64,
    /// What there was before the first piece.
    small: Vec<u8>,
    pieces: Vec<Piece>,
}

impl Came {
    /// Takes up what there is room for; returns the rest.
    fn fill<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        if let Some(piece) = self.pieces.last_mut() {
            return piece.fill(data);
        }
        let room = self.small.capacity() - self.small.len();
        let (fits, rest) = data.split_at_checked(room).unwrap_or((data, &[]));
        self.small.extend_from_slice(fits);
        rest
    }

    fn end(self) -> Content {
        let small = Some(Bytes::from(self.small)).filter(|small| !small.is_empty());
        Content::Pieces(small.into_iter().chain(self.pieces.into_iter().map(Bytes::from)).collect())
    }
}

fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body::Frame;
    use http_body_util::StreamBody;
    use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};

    use super::*;

    /// A chunked body of so many parts, with a pause before each.
    fn trickle(
        parts: usize,
        part: &'static [u8],
        pause: Duration,
    ) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Unpin {
        let (sender, parts_of_it) = tokio::sync::mpsc::channel(1);
        #[expect(clippy::disallowed_methods, reason = "a test has no drain")]
        tokio::spawn(async move {
            for _ in 0..parts {
                time::sleep(pause).await;
                if sender.send(Bytes::from_static(part)).await.is_err() {
                    return;
                }
            }
        });
        ReceiverStream::new(parts_of_it).map(|part| Ok(Frame::data(part)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_given_up_and_one_that_is_only_slow_is_not() {
        let memory = Semaphore::new(1 << 20);
        let slow = trickle(100, &[b'x'; 32 << 10], Duration::from_secs(1));
        let gathered = gather(StreamBody::new(slow), 64 << 20, &memory).await;
        assert!(matches!(&gathered, Gathered::Whole(body, _) if body.len() == 100 * (32 << 10)));
        drop(gathered);
        let begun = Instant::now();
        let loris = trickle(10_000, b"x", Duration::from_secs(15));
        assert!(matches!(gather(StreamBody::new(loris), 64 << 20, &memory).await, Gathered::Late));
        assert!(begun.elapsed() <= WHOLE + PAUSE, "in virtual time: {:?}", begun.elapsed());
        let silent = trickle(1, b"x", PAUSE * 2);
        assert!(matches!(gather(StreamBody::new(silent), 64 << 20, &memory).await, Gathered::Late));
        assert_eq!(memory.available_permits(), 1 << 20, "everything is given back");
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_taken_for_what_came_and_not_beyond() {
        let memory = Semaphore::new(128);
        let large = trickle(100, &[b'x'; 32 << 10], Duration::ZERO);
        assert!(matches!(gather(StreamBody::new(large), 64 << 20, &memory).await, Gathered::NoMemory));
        let small = trickle(1, b"x", Duration::ZERO);
        assert!(matches!(gather(StreamBody::new(small), 64 << 20, &memory).await, Gathered::Whole(..)));
        let whole = trickle(3, &[b'x'; 40 << 10], Duration::ZERO);
        let more = Semaphore::new(132);
        let Gathered::Whole(content, held) = gather(StreamBody::new(whole), 64 << 20, &more).await else {
            panic!("it fits");
        };
        let Content::Pieces(pieces) = &content else { panic!("it is in memory") };
        assert_eq!(content.len(), 120 << 10);
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE), "nothing is copied to grow");
        // The last piece may not be full.
        assert_eq!(held.num_permits(), 132);
        drop(held);
        let larger = trickle(3, &[b'x'; 32 << 10], Duration::ZERO);
        assert!(matches!(gather(StreamBody::new(larger), 64 << 10, &memory).await, Gathered::TooLarge));
        assert_eq!(memory.available_permits(), 128);
    }
}
