//! The client's side of a conversation, and whether the client is still there.
//!
//! A client that has ended its half may wait for its answer, or may have left: TCP tells which only when
//! it is asked, and a minute later. Until then, and not for ever, it is believed.

use std::{
    io,
    net::Shutdown,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    time,
};

use crate::plane::{tcp, visitor::now_ms};

/// How often it is looked whether the client has left.
const LOOK: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Clone)]
pub(super) struct Downstream(Arc<Inside>);

struct Inside {
    stream: TcpStream,
    moved_ms: AtomicU64,
}

impl Downstream {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(Arc::new(Inside { stream, moved_ms: AtomicU64::new(now_ms()) }))
    }

    /// Returns once the client has left, or has ended its half and nothing has moved for so long.
    pub(super) async fn left(&self, after: Duration) {
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        let mut doubted = false;
        loop {
            time::sleep(LOOK.min(after / 2)).await;
            let seen = self.seen();
            if seen.intersects(PollFlags::ERR | PollFlags::HUP) {
                return;
            }
            if !seen.contains(PollFlags::RDHUP) {
                continue;
            }
            if now_ms().saturating_sub(self.0.moved_ms.load(Ordering::Relaxed)) >= after_ms {
                return;
            }
            if !doubted {
                doubted = true;
                tcp::doubt(&self.0.stream);
            }
        }
    }

    /// Whether the client has ended its half, or reset the connection.
    fn seen(&self) -> PollFlags {
        let mut one = [PollFd::new(&self.0.stream, PollFlags::RDHUP)];
        match poll(&mut one, Some(&Timespec::default())) {
            Ok(1..) => one.iter().map(PollFd::revents).collect(),
            _ => PollFlags::empty(),
        }
    }

    fn moved(&self) {
        self.0.moved_ms.store(now_ms(), Ordering::Relaxed);
    }

    fn poll_write_with(
        &self,
        context: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.stream.poll_write_ready(context))?;
            match write(&self.0.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => {
                    self.moved();
                    return Poll::Ready(written);
                }
            }
        }
    }
}

impl AsyncRead for Downstream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (stream, room) = (&self.0.stream, buffer.remaining());
        loop {
            ready!(stream.poll_read_ready(context))?;
            let mut read = 0;
            let tried = stream.try_io(Interest::READABLE, || {
                read = stream.try_read_buf(buffer)?;
                // There was no more: the kernel tells when there is, and asking once more would only cost a call.
                if (1..room).contains(&read) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match tried {
                Err(error) if read == 0 && error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if read == 0 => return Poll::Ready(Err(error)),
                _ => {
                    self.moved();
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl AsyncWrite for Downstream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(context, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(context, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&self.0.stream).shutdown(Shutdown::Write))
    }
}
