//! One stream to one SDK, from its head to its end. Nobody is cut off but those whose key is gone.

mod frame;
mod pace;
mod wire;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::{Buf as _, Bytes};
use common::drain::Drain;
use tokio::time::{Instant, sleep_until};

use self::wire::{Wire, Writing};
use crate::{
    api::{Api, Kind, Opening},
    front::Connection,
};

/// How often a stream that is quiet says so: well within the half minute after which SDKs give it up.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_secs(1);
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
                    Access-Control-Allow-Origin: *\r\nX-Accel-Buffering: no\r\n";

/// Serves a stream until its key is gone, the SDK is, or the stop comes; `spread` is how long a stop takes to end all
/// streams, so that not all SDKs come back in the same moment.
pub(crate) async fn serve(
    api: Arc<Api>,
    opening: Opening,
    connection: Connection,
    spread: Duration,
    drain: Drain,
) {
    api.meters.streams.inc();
    api.meters.streams_opened.inc();
    let number = api.roster.enter(&opening);
    let mut wire = Wire::new(connection);
    let mut stream = Stream { opening, out: VecDeque::new(), tell_at: None, end_at: None, beat_at: beat() };
    let reason = stream.run(&api, &mut wire, spread, &drain).await;
    api.roster.leave(number);
    api.meters.streams.dec();
    api.meters.stream_ended(reason);
}

struct Stream {
    opening: Opening,
    /// What waits to be written, an event each.
    out: VecDeque<Bytes>,
    /// When what is new is told.
    tell_at: Option<Instant>,
    /// When it ends, because of the stop.
    end_at: Option<Instant>,
    beat_at: Instant,
}

fn beat() -> Instant {
    // Spread, so that ten thousand streams do not beat together.
    Instant::now() + HEARTBEAT.mul_f64(0.6 + fastrand::f64() * 0.4)
}

impl Stream {
    /// Returns why it ended.
    async fn run(&mut self, api: &Api, wire: &mut Wire, spread: Duration, drain: &Drain) -> &'static str {
        let (mut reading, mut writing) = wire.halves();
        let coding =
            if self.opening.is_chunked { "Transfer-Encoding: chunked\r\n" } else { "Connection: close\r\n" };
        self.out.push_back(format!("{HEAD}{coding}\r\n").into());
        // An SDK that learns of its connection by its first bytes learns of it now.
        self.push(frame::HEARTBEAT);
        let mut closed = std::pin::pin!(reading.closed());
        let mut started = std::pin::pin!(drain.started());
        let mut insisted = std::pin::pin!(drain.insisted());
        loop {
            if self.out.is_empty() {
                self.fill(api);
            }
            let next = self.out.front().cloned().unwrap_or_default();
            let tell_at = self.tell_at.filter(|_| next.is_empty());
            let deadline = [tell_at, self.end_at].into_iter().flatten().fold(self.beat_at, Instant::min);
            tokio::select! {
                () = &mut insisted => {
                    drain.count_cut();
                    return "cut";
                }
                () = &mut closed => return "closed",
                () = &mut started, if self.end_at.is_none() => {
                    self.end_at = Some(Instant::now() + spread.mul_f64(fastrand::f64()));
                }
                () = self.opening.listener.woken() => {
                    if !self.may_go_on(api) {
                        self.finish(&mut writing).await;
                        return "key removed";
                    }
                    let listeners = self.opening.listener.listeners();
                    let wait = pace::wait(listeners, fastrand::f64());
                    self.tell_at.get_or_insert(Instant::now() + wait);
                }
                written = writing.write(&next), if !next.is_empty() => match written {
                    Ok(written) => self.advance(written),
                    Err(_) => return "broken",
                },
                () = sleep_until(deadline) => {
                    let now = Instant::now();
                    if self.end_at.is_some_and(|at| at <= now) {
                        self.finish(&mut writing).await;
                        return "stop";
                    }
                    if self.beat_at <= now {
                        self.beat_at = beat();
                        // A stream that is not read needs no more to read.
                        if self.out.is_empty() {
                            self.push(frame::HEARTBEAT);
                        }
                    }
                }
            }
        }
    }

    fn push(&mut self, text: &str) {
        self.out.push_back(frame::chunk(text, self.opening.is_chunked));
    }

    fn advance(&mut self, written: usize) {
        if let Some(front) = self.out.front_mut() {
            front.advance(written.min(front.len()));
            if front.is_empty() {
                self.out.pop_front();
            }
        }
        self.beat_at = beat();
    }

    /// Takes the next thing to tell, if it is time.
    fn fill(&mut self, api: &Api) {
        if self.tell_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        while self.out.is_empty() {
            let Some(told) = self.opening.listener.hear() else {
                self.tell_at = None;
                return;
            };
            match &self.opening.kind {
                Kind::Server => self.push(&frame::server(&self.opening.environment, &told)),
                Kind::Client(target) => {
                    let environment = api.store.environment(&self.opening.environment);
                    let frames = environment.map(|now| frame::client(&now, &told, target));
                    frames.into_iter().flatten().for_each(|frame| self.push(&frame));
                }
                Kind::Ofrep => {
                    let mut last = told;
                    while let Some(later) = self.opening.listener.hear() {
                        last = later;
                    }
                    self.push(&frame::ofrep(&last));
                }
            }
            api.meters.told(self.out.len(), api.standing.is_replica());
        }
    }

    fn may_go_on(&self, api: &Api) -> bool {
        self.opening.key.is_none_or(|key| {
            let opened = api.store.opened_by(&key);
            opened.is_some_and(|environment| environment.id == self.opening.environment)
        })
    }

    /// Ends it in good order, if the SDK still reads.
    async fn finish(&mut self, writing: &mut Writing<'_>) {
        // Half an event must not be followed by an end.
        self.out.truncate(1);
        if self.opening.is_chunked {
            self.out.push_back(Bytes::from_static(b"0\r\n\r\n"));
        }
        let last = async {
            while let Some(next) = self.out.front().cloned() {
                match writing.write(&next).await {
                    Ok(written) => self.advance(written),
                    Err(_) => return,
                }
            }
            writing.finish().await;
        };
        tokio::time::timeout(LAST_WORDS, last).await.ok();
    }
}
