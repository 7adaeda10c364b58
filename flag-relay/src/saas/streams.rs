//! The account stream: what changes in the environments of a proxy key, as it happens.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use tokio::{
    sync::{broadcast, mpsc, watch},
    time,
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

use super::{
    answer::Refusal,
    book::Standing,
    change::{Event, To},
    office::Office,
    outbound::{Asker, Desk},
};
use crate::secret::KeyHash;

const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long an event that is to come late is held when nothing follows it.
const LATE: Duration = Duration::from_millis(200);

struct Stream {
    office: Arc<Office>,
    hash: KeyHash,
    identifier: String,
    out: mpsc::Sender<Bytes>,
    late: Option<Bytes>,
}

pub(super) async fn open(
    State(desk): State<Desk>,
    headers: HeaderMap,
    asker: Asker,
) -> Result<Response, Refusal> {
    let told = headers.get("api-key").map(|told| KeyHash::of(&String::from_utf8_lossy(told.as_bytes())));
    if told != Some(asker.hash) {
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, "API-Key is not the key of the token"));
    }
    let (out, receiver) = mpsc::channel(64);
    let office = Arc::clone(&desk.office);
    let (events, look) = (office.told.subscribe(), office.look.subscribe());
    let stream = Stream { office, hash: asker.hash, identifier: asker.key.identifier, out, late: None };
    let drain = desk.drain.clone();
    desk.drain.spawn(async move {
        tokio::select! {
            () = drain.started() => {}
            _ = stream.run(events, look) => {}
        }
    });
    let body = Body::from_stream(ReceiverStream::new(receiver).map(Ok::<_, std::convert::Infallible>));
    Ok(([(header::CONTENT_TYPE, "text/event-stream")], body).into_response())
}

impl Stream {
    /// Runs until the relay goes, its key is no longer good, or it is too far behind.
    async fn run(
        mut self,
        mut events: broadcast::Receiver<Arc<(To, Event)>>,
        mut look: watch::Receiver<u64>,
    ) -> Option<()> {
        let epoch = *look.borrow_and_update();
        self.out.send(Bytes::from_static(b":\n\n")).await.ok()?;
        loop {
            let patience = if self.late.is_some() { LATE } else { HEARTBEAT };
            tokio::select! {
                event = events.recv() => {
                    let event = event.ok()?;
                    self.tell(&event).await?;
                    if event.1.event == "proxyKeyDeleted" && self.is_for_us(&event) {
                        return None;
                    }
                }
                changed = look.changed() => {
                    changed.ok()?;
                    if *look.borrow_and_update() != epoch || !self.is_good() {
                        // What was told before is told before the end.
                        while let Ok(event) = events.try_recv() {
                            self.tell(&event).await?;
                        }
                        return None;
                    }
                }
                () = time::sleep(patience) => {
                    if !self.is_good() {
                        return None;
                    }
                    let told = self.late.take().unwrap_or(Bytes::from_static(b":\n\n"));
                    self.out.send(told).await.ok()?;
                }
            }
        }
    }

    async fn tell(&mut self, event: &(To, Event)) -> Option<()> {
        if !self.is_for_us(event) {
            return Some(());
        }
        let (is_twice, is_mixed) = {
            let faults = self.office.faults();
            (faults.duplicate_events, faults.reorder_events)
        };
        let told = serde_json::to_string(&event.1).ok()?;
        let told = Bytes::from(format!("event: *\ndata: {told}\n\n"));
        if is_mixed && self.late.is_none() {
            self.late = Some(told);
            return Some(());
        }
        for _ in 0..=u8::from(is_twice) {
            self.out.send(told.clone()).await.ok()?;
        }
        if let Some(late) = self.late.take() {
            self.out.send(late).await.ok()?;
        }
        Some(())
    }

    fn is_for_us(&self, (to, event): &(To, Event)) -> bool {
        match to {
            To::Key(identifier) => *identifier == self.identifier,
            To::Environment => {
                let book = self.office.book();
                let place = book.environments.get(&event.environment).map(|found| &found.place);
                let key = book.proxy_keys.get(&self.identifier);
                key.zip(place).is_some_and(|(key, place)| key.opens(place))
            }
        }
    }

    fn is_good(&self) -> bool {
        let now_ms = self.office.now_ms();
        matches!(self.office.book().standing(&self.hash, now_ms), Standing::Good(_))
    }
}
