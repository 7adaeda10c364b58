//! A connection that went over to another protocol, WebSocket most often: its bytes are carried as they
//! are.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use common::relay::Side;
use http::Response;
use hyper::{
    body::Incoming,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use tokio::io::{self as bytes_io, AsyncRead, AsyncWrite, ReadBuf};

use super::{Entry, answer::FLOOR, body::Downlink};
use crate::plane::{
    gate::Visit,
    visitor::{Kind, Visitor},
};

const BUFFER: usize = 32 << 10;

/// Answers that it goes over, and carries it from then on.
pub(super) fn carry(
    client: OnUpgrade,
    mut response: Response<Incoming>,
    mut visit: Visit,
    entry: &Arc<Entry>,
) -> Response<Downlink> {
    let server = hyper::upgrade::on(&mut response);
    let detail = visit.visitor().detail.clone();
    visit.become_connection(Visitor::new(Kind::Connection, entry.peer, "websocket", detail, FLOOR, false));
    let drain = entry.plane.drain.clone();
    entry.plane.drain.spawn_own(async move {
        tokio::select! {
            ended = both_ways(client, server, &visit) => if let Err(error) = ended {
                tracing::debug!(peer = %visit.visitor().peer, %error, "upgraded connection broke");
            },
            () = drain.insisted() => drain.count_cut(),
        }
    });
    response.map(|_| Downlink::from(Bytes::new()))
}

async fn both_ways(client: OnUpgrade, server: OnUpgrade, visit: &Visit) -> io::Result<()> {
    let (client, server) = tokio::try_join!(client, server).map_err(io::Error::other)?;
    let mut client = TokioIo::new(client);
    let mut server = Counted { stream: TokioIo::new(server), visitor: visit.visitor_shared() };
    bytes_io::copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await?;
    Ok(())
}

/// The target's side; everything passes it once.
struct Counted {
    stream: TokioIo<Upgraded>,
    visitor: Arc<Visitor>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let length = buffer.filled().len() - before;
        if length > 0 {
            self.visitor.moved(Side::Server, length);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.visitor.moved(Side::Client, taken);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
