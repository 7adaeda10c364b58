//! Reads a body as a whole, within the memory for bodies and within a time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{self, Instant},
};

/// How long a body may pause.
const PAUSE: Duration = Duration::from_secs(20);
/// How long one may take in all, and more for each 16 KiB of it.
const WHOLE: Duration = Duration::from_secs(60);
/// How long memory is waited for.
const QUEUEING: Duration = Duration::from_secs(2);
/// Memory is taken in steps of this.
const STEP: u64 = 64 << 10;

/// What came.
pub(super) enum Gathered<'a> {
    /// All of it, with the memory that it takes.
    Whole(Bytes, SemaphorePermit<'a>),
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
pub(super) async fn gather(mut body: Incoming, most: u64, memory: &Semaphore) -> Gathered<'_> {
    let told = body.size_hint().exact();
    if told.is_some_and(|length| length > most) {
        return Gathered::TooLarge;
    }
    let first = told.unwrap_or(STEP);
    let taken = time::timeout(QUEUEING, memory.acquire_many(kib(first))).await;
    let Ok(Ok(mut permit)) = taken else { return Gathered::NoMemory };
    let mut room = u64::from(kib(first)) << 10;
    let mut bytes = BytesMut::with_capacity(usize::try_from(first).unwrap_or(0));
    let deadline = Instant::now() + WHOLE + Duration::from_secs(told.unwrap_or(most) >> 14);
    loop {
        let until = deadline.min(Instant::now() + PAUSE);
        let frame = match time::timeout_at(until, body.frame()).await {
            Err(_) => return Gathered::Late,
            Ok(None) => return Gathered::Whole(bytes.freeze(), permit),
            Ok(Some(Err(_))) => return Gathered::Broken,
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        let length = (bytes.len() + data.len()) as u64;
        if length > most {
            return Gathered::TooLarge;
        }
        while length > room {
            // Waiting for more while holding some would be waiting for each other.
            let Ok(more) = memory.try_acquire_many(kib(STEP)) else { return Gathered::NoMemory };
            permit.merge(more);
            room += STEP;
        }
        bytes.extend_from_slice(&data);
    }
}

fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).max(1)
}
