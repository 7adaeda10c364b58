//! The bytes of one connection of an agent: their framing is followed, and neither a head nor a write may take for ever.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::framing::Framing;

/// How long a head may take from its first byte to its last.
const HEAD: Duration = Duration::from_secs(15);
/// How long an agent may take none of its answer.
const WRITE: Duration = Duration::from_secs(30);

/// See the module.
pub(super) struct Wire<S> {
    inner: S,
    framing: Arc<Mutex<Framing>>,
    head: Option<Pin<Box<Sleep>>>,
    write: Option<Pin<Box<Sleep>>>,
}

impl<S> Wire<S> {
    pub(super) fn new(inner: S, framing: Arc<Mutex<Framing>>) -> Self {
        Self { inner, framing, head: None, write: None }
    }
}

/// An error once the time is over.
fn over(timer: &mut Option<Pin<Box<Sleep>>>, most: Duration, context: &mut Context<'_>) -> Poll<io::Error> {
    let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + most)));
    timer.as_mut().poll(context).map(|()| io::ErrorKind::TimedOut.into())
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        let is_in_head = {
            let mut framing = self.framing.lock().unwrap_or_else(PoisonError::into_inner);
            framing.see(buffer.filled().get(before..).unwrap_or_default());
            framing.is_in_head()
        };
        if !is_in_head {
            self.head = None;
        } else if let Poll::Ready(error) = over(&mut self.head, HEAD, context) {
            return Poll::Ready(Err(error));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    fn timed<T>(&mut self, polled: Poll<T>, context: &mut Context<'_>) -> Result<Poll<T>, io::Error> {
        if polled.is_ready() {
            self.write = None;
        } else if let Poll::Ready(error) = over(&mut self.write, WRITE, context) {
            return Err(error);
        }
        Ok(polled)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.timed(polled, context).unwrap_or_else(|error| Poll::Ready(Err(error)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(context);
        self.timed(polled, context).unwrap_or_else(|error| Poll::Ready(Err(error)))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_shutdown(context);
        self.timed(polled, context).unwrap_or_else(|error| Poll::Ready(Err(error)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(context, parts);
        self.timed(polled, context).unwrap_or_else(|error| Poll::Ready(Err(error)))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_head_that_trickles_ends_and_silence_between_requests_does_not() {
        let (mut agent, relay) = duplex(64);
        let mut wire = Wire::new(relay, Arc::default());
        let mut byte = [0];
        agent.write_all(b"G").await.unwrap();
        wire.read_exact(&mut byte).await.unwrap();
        let trickle = async {
            // Each byte comes in time, and yet it takes too long.
            loop {
                tokio::time::sleep(Duration::from_secs(5)).await;
                agent.write_all(b"x").await.unwrap();
            }
        };
        let read = async {
            loop {
                if let Err(error) = wire.read_exact(&mut byte).await {
                    return error.kind();
                }
            }
        };
        tokio::select! {
            never = trickle => never,
            kind = read => assert_eq!(kind, io::ErrorKind::TimedOut),
        }
        let (_agent, relay) = duplex(64);
        let mut wire = Wire::new(relay, Arc::default());
        let silent = tokio::time::timeout(HEAD * 10, wire.read_exact(&mut byte)).await;
        assert!(silent.is_err(), "that is the business of the keep-alive");
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_takes_no_answer_is_let_go() {
        let (_agent, relay) = duplex(4);
        let mut wire = Wire::new(relay, Arc::default());
        let written = wire.write_all(b"more than fits").await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
