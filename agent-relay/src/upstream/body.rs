//! Bodies on their way: each part that is taken is noted, so that a slow one is told from one that stands still.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

/// Whatever is wrong with a body.
type Fault = Box<dyn std::error::Error + Send + Sync>;
/// A body on its way to the other side.
pub(crate) type Body = UnsyncBoxBody<Bytes, Fault>;

/// A body that is there as a whole is given in parts of this.
const PART: usize = 64 << 10;

/// When something last moved.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<Mutex<Instant>>);

impl Default for Progress {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Progress {
    /// Something moves now.
    pub(crate) fn touch(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// When it did.
    pub(crate) fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Parts {
    rest: Bytes,
    progress: Progress,
}

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.progress.touch();
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(PART);
        let part = self.rest.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

/// A body that is there as a whole.
pub(crate) fn whole(bytes: Bytes, progress: Progress) -> Body {
    Parts { rest: bytes, progress }.boxed_unsync()
}

struct Watched {
    inner: Incoming,
    progress: Progress,
    /// How long it may stand still, and until when.
    most: Option<Duration>,
    until: Pin<Box<Sleep>>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if polled.is_ready() {
            self.progress.touch();
            if let Some(most) = self.most {
                self.until.as_mut().reset(Instant::now() + most);
            }
        } else if self.most.is_some() && self.until.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err("nothing came for too long".into())));
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A body that still comes; with `most` it is an error when nothing comes for so long.
pub(crate) fn coming(inner: Incoming, progress: Progress, most: Option<Duration>) -> Body {
    let until = Box::pin(sleep_until(Instant::now() + most.unwrap_or_default()));
    Watched { inner, progress, most, until }.boxed_unsync()
}
