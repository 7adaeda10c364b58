//! Bodies on their way: each part that is taken is noted, so that a slow one is told from one that stands still.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{beside::beside, content::Content, pieces::PIECE};

/// Whatever is wrong with a body.
type Fault = Box<dyn std::error::Error + Send + Sync>;
/// A body on its way to the other side.
pub(crate) type Body = UnsyncBoxBody<Bytes, Fault>;

/// When something last moved, and how much did.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<Mutex<(Instant, u64)>>);

impl Default for Progress {
    fn default() -> Self {
        Self(Arc::new(Mutex::new((Instant::now(), 0))))
    }
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, (Instant, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something moves now.
    pub(crate) fn touch(&self) {
        self.state().0 = Instant::now();
    }

    /// So many bytes move now.
    fn give(&self, bytes: usize) {
        let mut state = self.state();
        state.0 = Instant::now();
        state.1 += bytes as u64;
    }

    /// When something did.
    pub(crate) fn last(&self) -> Instant {
        self.state().0
    }

    /// How many bytes were given to a connection.
    pub(crate) fn given(&self) -> u64 {
        self.state().1
    }
}

/// The next part of a file, on its way.
type Reading = Pin<Box<dyn Future<Output = io::Result<io::Result<Bytes>>> + Send>>;

struct Parts {
    content: Content,
    from: u64,
    length: u64,
    /// What is there and was not given yet.
    part: Bytes,
    reading: Option<Reading>,
    progress: Progress,
}

impl Parts {
    fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.part.is_empty() || self.from == self.length {
            return Poll::Ready(Ok(()));
        }
        if matches!(self.content, Content::Pieces(_)) {
            self.part = self.content.part(self.from)?;
        } else {
            let (content, from) = (&self.content, self.from);
            let reading = self.reading.get_or_insert_with(|| {
                let content = content.clone();
                Box::pin(beside(move || content.part(from))) as Reading
            });
            let read = ready!(reading.as_mut().poll(context));
            self.reading = None;
            self.part = read??;
        }
        let is_short = self.part.is_empty();
        Poll::Ready(if is_short { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) })
    }
}

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.progress.touch();
        if let Err(error) = ready!(self.poll_part(context)) {
            return Poll::Ready(Some(Err(error.into())));
        }
        if self.part.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.part.len().min(PIECE);
        self.from += length as u64;
        let part = self.part.split_to(length);
        self.progress.give(length);
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.from == self.length
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length - self.from)
    }
}

/// A body that is there as a whole, or in a file.
pub(crate) fn sent(content: Content, progress: Progress) -> Body {
    let length = content.len();
    Parts { content, from: 0, length, part: Bytes::new(), reading: None, progress }.boxed_unsync()
}

/// A body that is there as a whole.
pub(crate) fn whole(bytes: Bytes, progress: Progress) -> Body {
    sent(bytes.into(), progress)
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
        if let Poll::Ready(frame) = &polled {
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            self.progress.give(data.map_or(0, Bytes::len));
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
