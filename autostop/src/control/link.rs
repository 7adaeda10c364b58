//! The link to the planes: what they say becomes inputs, what they are told goes out.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use common::drain::Drain;
use futures::{Stream, StreamExt as _};
use tokio::{select, sync::mpsc, time};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{Control, Input};
use crate::wire::{self, attach_request, link_service_server::LinkService};

/// What may wait for a plane to read it.
const WAITING: usize = 8192;
/// A plane says who it is within this time.
const PATIENCE: Duration = Duration::from_secs(10);
/// A plane's name is no longer than a host name may be.
const MOST_NAME_BYTES: usize = 253;

/// One link of one plane.
pub struct Link {
    /// The plane's name.
    pub plane: Arc<str>,
    /// Tells links of one plane apart.
    pub id: u64,
    /// Its version.
    pub version: String,
    /// To the plane.
    pub sender: mpsc::Sender<Result<wire::AttachResponse, Status>>,
    /// Ends the link.
    pub cut: CancellationToken,
}

/// The service on usageTrackingPort.
pub struct Links {
    control: Control,
    drain: Drain,
    ids: AtomicU64,
}

impl Links {
    /// Brings what planes say to the control plane.
    pub fn new(control: Control, drain: Drain) -> Self {
        Self { control, drain, ids: AtomicU64::new(1) }
    }
}

#[tonic::async_trait]
impl LinkService for Links {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<wire::AttachResponse, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<wire::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let mut said = request.into_inner();
        let first = time::timeout(PATIENCE, said.message());
        let first = first.await.map_err(|_| Status::deadline_exceeded("say Hello first"))??;
        let Some(attach_request::Message::Hello(hello)) = first.and_then(|first| first.message) else {
            return Err(Status::invalid_argument("say Hello first"));
        };
        if hello.plane.is_empty()
            || hello.plane.len() > MOST_NAME_BYTES
            || hello.plane.chars().any(char::is_control)
        {
            return Err(Status::invalid_argument("plane must be a name of at most 253 bytes"));
        }
        let (sender, told) = mpsc::channel(WAITING);
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let plane: Arc<str> = hello.plane.into();
        let cut = CancellationToken::new();
        let link = Link { plane: Arc::clone(&plane), id, version: hello.version, sender, cut: cut.clone() };
        let gone = |_| Status::unavailable("stopping");
        self.control.tell(Input::Attached(link)).await.map_err(gone)?;
        let (control, drain, ending) = (self.control.clone(), self.drain.clone(), cut.clone());
        self.drain.spawn(async move {
            loop {
                let message = select! {
                    message = said.message() => message,
                    () = ending.cancelled() => break,
                    () = drain.started() => break,
                };
                let Ok(Some(message)) = message else { break };
                let Some(message) = message.message else { continue };
                if control.tell(Input::Said(Arc::clone(&plane), id, message)).await.is_err() {
                    break;
                }
            }
            ending.cancel();
            // The control plane ends only with the daemon.
            control.tell(Input::Detached(plane, id)).await.ok();
        });
        let told = ReceiverStream::new(told).take_until(cut.cancelled_owned());
        Ok(Response::new(Box::pin(told)))
    }
}
