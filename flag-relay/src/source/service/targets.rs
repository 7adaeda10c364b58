//! Passes on which targets SDKs bring, so that the flag service knows them; what is too much, or comes while it is away,
//! is let go.

use std::sync::Arc;

use bytes::Bytes;
use common::drain::Drain;
use tokio::sync::mpsc;

use super::Client;

/// How many wait.
const MOST_WAITING: usize = 256;

/// Takes what SDKs brought.
#[derive(Debug)]
pub(crate) struct Targets(mpsc::Sender<Bytes>);

impl Targets {
    /// Passes on from now on, until the drain starts.
    pub(crate) fn new(client: Arc<Client>, drain: &Drain) -> Self {
        let (sender, mut waiting) = mpsc::channel::<Bytes>(MOST_WAITING);
        let until = drain.clone();
        drain.spawn(async move {
            loop {
                let body = tokio::select! {
                    () = until.started() => return,
                    body = waiting.recv() => body,
                };
                let Some(body) = body else { return };
                let told = tokio::select! {
                    () = until.started() => return,
                    told = client.tell_target(body) => told,
                };
                if let Err(error) = told {
                    tracing::debug!(why = error.told(), "a target was not passed on");
                }
            }
        });
        Self(sender)
    }

    /// Passes on what an SDK brought for its token, key and all.
    pub(crate) fn pass_on(&self, body: &Bytes) {
        self.0.try_send(body.clone()).ok();
    }
}
