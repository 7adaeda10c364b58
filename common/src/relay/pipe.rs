//! One direction of a connection.

use std::{
    cell::RefCell,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    net::tcp::{ReadHalf, WriteHalf},
};

use super::{Side, Tap};

/// The most that is read at once; the size of the buffer of each thread.
const LARGEST_READ: usize = 256 << 10;
/// What is read at once from a side of which nothing is known yet.
const FIRST_READ: usize = 32 << 10;
/// What is read at once from a side whose other side is slow: the most that a stalled direction keeps.
const SMALLEST_READ: usize = 16 << 10;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; LARGEST_READ]);
}

/// Which end of a direction failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Read,
    Write,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The source has ended; what is left is written, then the end is passed on.
    Ending,
    Ended,
    Failed(Fault),
}

pub(super) struct Pipe {
    from: Side,
    state: State,
    /// Read but not taken by the other side yet, from `written` on.
    kept: Vec<u8>,
    written: usize,
    read_size: usize,
}

impl Pipe {
    /// Begins with bytes that were read from the source before.
    pub(super) fn new(from: Side, kept: Vec<u8>) -> Self {
        Self { from, state: State::Open, kept, written: 0, read_size: FIRST_READ }
    }

    /// Whether the source of this direction has ended.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ending | State::Ended | State::Failed(Fault::Read))
    }

    /// Whether everything that was read has been written.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Moves what can be moved; ready when this direction is over.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        source: &mut ReadHalf<'_>,
        sink: &mut WriteHalf<'_>,
        tap: &mut impl Tap,
    ) -> Poll<Result<(), Fault>> {
        loop {
            match self.state {
                State::Open => {
                    ready!(self.poll_flush(context, sink));
                    if self.state == State::Open {
                        ready!(self.poll_read(context, source, sink, tap));
                    }
                }
                State::Ending => {
                    ready!(self.poll_flush(context, sink));
                    if self.state == State::Ending {
                        // Shutting a TCP socket down does not wait. When it fails the other direction tells.
                        ready!(Pin::new(&mut *sink).poll_shutdown(context)).ok();
                        self.state = State::Ended;
                    }
                }
                State::Ended => return Poll::Ready(Ok(())),
                State::Failed(fault) => return Poll::Ready(Err(fault)),
            }
        }
    }

    /// Ready when nothing is kept any more.
    fn poll_flush(&mut self, context: &mut Context<'_>, sink: &mut WriteHalf<'_>) -> Poll<()> {
        while let Some(rest @ [_, ..]) = self.kept.get(self.written..) {
            match ready!(Pin::new(&mut *sink).poll_write(context, rest)) {
                Ok(taken @ 1..) => self.written += taken,
                Ok(0) | Err(_) => {
                    self.state = State::Failed(Fault::Write);
                    break;
                }
            }
        }
        self.kept = Vec::new();
        self.written = 0;
        Poll::Ready(())
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        source: &mut ReadHalf<'_>,
        sink: &mut WriteHalf<'_>,
        tap: &mut impl Tap,
    ) -> Poll<()> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer.get_mut(..self.read_size).unwrap_or_default());
            let read = ready!(Pin::new(source).poll_read(context, &mut buffer));
            match buffer.filled() {
                _ if read.is_err() => {
                    self.state = State::Failed(Fault::Read);
                }
                [] => {
                    tap.half_closed(self.from);
                    self.state = State::Ending;
                }
                bytes => {
                    self.pass(context, sink, bytes);
                    tap.bytes(self.from, bytes);
                }
            }
            Poll::Ready(())
        })
    }

    /// Writes what the other side takes now, and keeps the rest.
    fn pass(&mut self, context: &mut Context<'_>, sink: &mut WriteHalf<'_>, bytes: &[u8]) {
        let taken = match Pin::new(sink).poll_write(context, bytes) {
            Poll::Ready(Ok(taken)) => taken,
            Poll::Ready(Err(_)) => {
                self.state = State::Failed(Fault::Write);
                return;
            }
            Poll::Pending => 0,
        };
        match bytes.get(taken..) {
            Some(rest @ [_, ..]) => {
                self.kept = rest.to_vec();
                self.read_size = (self.read_size / 2).max(SMALLEST_READ);
            }
            _ if bytes.len() == self.read_size => self.read_size = (self.read_size * 2).min(LARGEST_READ),
            _ => {}
        }
    }
}
