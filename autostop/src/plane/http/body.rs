//! Bodies on their way: counted as they pass, with everything that lasts as long as they do.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use common::relay::Side;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http1};

use crate::plane::{
    gate::Visit,
    upstream::{Key, Pool},
    visitor::Visitor,
};

/// The body of a request on its way to the target.
pub(in crate::plane) struct Uplink {
    /// None: it has ended before it began.
    pub(super) body: Option<Incoming>,
    pub(super) visitor: Arc<Visitor>,
}

impl Body for Uplink {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        count(&self.visitor, Side::Client, frame.as_ref());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

fn count(visitor: &Visitor, side: Side, frame: Option<&Result<Frame<Bytes>, hyper::Error>>) {
    if let Some(Ok(frame)) = frame
        && let Some(data) = frame.data_ref()
    {
        visitor.moved(side, data.len());
    }
}

/// The body of a response.
pub(super) enum Downlink {
    /// Our own words.
    Own(Full<Bytes>),
    /// The target's.
    Carried(Box<Carried>),
}

/// A response on its way. The request is open for as long as it is.
pub(super) struct Carried {
    pub(super) body: Incoming,
    pub(super) visit: Visit,
    /// The connection, for the next request.
    pub(super) free: Option<Free>,
}

/// A connection that is free once its response has ended.
pub(super) struct Free {
    pub(super) pool: Arc<Pool>,
    pub(super) key: Key,
    pub(super) generation: u64,
    pub(super) sender: http1::SendRequest<Uplink>,
}

impl From<Bytes> for Downlink {
    fn from(bytes: Bytes) -> Self {
        Self::Own(Full::new(bytes))
    }
}

impl Carried {
    fn release(&mut self) {
        if let Some(Free { pool, key, generation, sender }) = self.free.take() {
            pool.put(key, generation, sender);
        }
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        // One that was not read to its end takes its connection with it.
        if self.body.is_end_stream() {
            self.release();
        }
    }
}

impl Body for Downlink {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Own(own) => {
                let frame = ready!(Pin::new(own).poll_frame(context));
                Poll::Ready(frame.map(|frame| frame.map_err(|never| match never {})))
            }
            Self::Carried(carried) => {
                let frame = ready!(Pin::new(&mut carried.body).poll_frame(context));
                count(carried.visit.visitor(), Side::Server, frame.as_ref());
                if frame.is_none() {
                    carried.release();
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(own) => own.is_end_stream(),
            Self::Carried(carried) => carried.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(own) => own.size_hint(),
            Self::Carried(carried) => carried.body.size_hint(),
        }
    }
}
