//! Carries the bytes of one connection both ways, unchanged, with half-close, reset and back-pressure.
//!
//! A connection at rest holds no buffer. Bytes are read into one buffer per thread, written on at
//! once, and shown to the tap; only what the other side does not take is kept, and nothing more is
//! read from this side until that is gone.

mod close;
mod pipe;

use std::{
    future::{self, Future as _},
    pin::pin,
    task::{Poll, Waker},
};

use tokio::{net::TcpStream, task};

use self::pipe::{Fault, Pipe};
use crate::{drain::Drain, exchange::End};

/// Who sent some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The downstream, who connected.
    Client,
    /// The upstream, who was connected to.
    Server,
}

/// Is shown the bytes that pass. It cannot hold them up.
pub trait Tap {
    /// These bytes were read from this side, and handed on as far as the other takes them.
    fn bytes(&mut self, from: Side, bytes: &[u8]);
    /// This side ended its half of the connection.
    fn half_closed(&mut self, from: Side);
    /// Whether a stop may close the connection now, because it is between two exchanges.
    fn is_idle(&self) -> bool;
}

/// Carries bytes until both sides have ended, one has failed, or a stop ends the connection; returns
/// what became of an exchange that is still open: whoever ended first aborted it.
pub async fn relay(client: TcpStream, server: TcpStream, tap: &mut impl Tap, drain: &Drain) -> End {
    relay_held(Vec::new(), client, server, tap, drain).await
}

/// As [`relay`], with bytes that were read from the client already: they go to the server first.
pub async fn relay_held(
    held: Vec<u8>,
    mut client: TcpStream,
    mut server: TcpStream,
    tap: &mut impl Tap,
    drain: &Drain,
) -> End {
    let over = run(held, &mut client, &mut server, tap, drain).await;
    match over.failed {
        None => {}
        Some(Side::Client) => close::reset(server),
        Some(Side::Server) => close::reset_after_delivery(client).await,
    }
    over.end
}

struct Over {
    /// The side that did not end in good order: the other is told so by a reset.
    failed: Option<Side>,
    end: End,
}

async fn run(
    held: Vec<u8>,
    client: &mut TcpStream,
    server: &mut TcpStream,
    tap: &mut impl Tap,
    drain: &Drain,
) -> Over {
    if !held.is_empty() {
        tap.bytes(Side::Client, &held);
    }
    let (mut client_reads, mut client_writes) = client.split();
    let (mut server_reads, mut server_writes) = server.split();
    let mut upward = Pipe::new(Side::Client, held);
    let mut downward = Pipe::new(Side::Server, Vec::new());
    // Out of its budget, tokio would answer without waiting for anything.
    let mut started = pin!(task::unconstrained(drain.started()));
    let mut insisted = pin!(drain.insisted());
    let mut woken_by_stop: Option<Waker> = None;
    let mut first = None;
    future::poll_fn(|context| {
        // Upward goes first, so that the tap sees a request before its response.
        let up = upward.poll(context, &mut client_reads, &mut server_writes, tap);
        let down = downward.poll(context, &mut server_reads, &mut client_writes, tap);
        if first.is_none() {
            first = match (upward.has_ended(), downward.has_ended()) {
                (_, true) => Some(End::AbortedByServer),
                (true, false) => Some(End::AbortedByClient),
                (false, false) => None,
            };
        }
        let over = |failed, end| Poll::Ready(Over { failed, end: first.unwrap_or(end) });
        match (up, down) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return over(None, End::Complete),
            (Poll::Ready(Err(Fault::Read)), _) | (_, Poll::Ready(Err(Fault::Write))) => {
                return over(Some(Side::Client), End::AbortedByClient);
            }
            // While the server takes no more, what it said before that must still reach the client.
            (_, Poll::Ready(Err(Fault::Read))) | (Poll::Ready(Err(Fault::Write)), Poll::Ready(Ok(()))) => {
                return over(Some(Side::Server), End::AbortedByServer);
            }
            _ => {}
        }
        // To wait for the stop takes a lock that all connections share: once for each waker is enough.
        let waits = woken_by_stop.as_ref().is_some_and(|waker| waker.will_wake(context.waker()));
        if !waits && !drain.is_started() && started.as_mut().poll(context).is_pending() {
            woken_by_stop = Some(context.waker().clone());
        }
        if drain.is_started() {
            if tap.is_idle() && upward.is_empty() && downward.is_empty() {
                return over(None, End::Complete);
            }
            if insisted.as_mut().poll(context).is_ready() {
                drain.count_cut();
                return Poll::Ready(Over { failed: None, end: End::Cut });
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests;
