//! Follows what is stored, as server-sent events. Who reads too slowly misses exchanges and is told how many;
//! nobody waits for a reader.

use std::collections::VecDeque;
use std::convert::Infallible;

use arrow::array::RecordBatch;
use axum::extract::{RawQuery, State};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::Stream;
use futures::stream::unfold;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::parameters::Parameters;
use super::{Api, Failed};
use crate::query::Filter;
use crate::rrpair::rrpair;
use crate::store::News;
use crate::store::row::Row;

/// Takes the filters of `/api/v1/pairs`. Events are `pair` with an RRPair, and `missed` with `{"missed":…}`.
pub(super) async fn tail(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failed> {
    let mut parameters = Parameters::read(query.as_deref(), jiff::Timestamp::now());
    let filter = parameters.filter()?;
    parameters.end()?;
    let follower =
        Follower { news: api.store.follow(), filter, expected: None, events: VecDeque::new(), batch: None };
    let drain = api.drain;
    let events = unfold((follower, drain), async |(mut follower, drain)| {
        let stopped = async {
            match &drain {
                Some(drain) => drain.started().await,
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            event = follower.next() => event?,
            () = stopped => return None,
        };
        Some((Ok(event), (follower, drain)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

struct Follower {
    news: Receiver<News>,
    filter: Filter,
    /// How many rows came before the next ones, if none is missed.
    expected: Option<u64>,
    events: VecDeque<Event>,
    /// Rows of a batch that are still to be told.
    batch: Option<(RecordBatch, VecDeque<usize>)>,
}

impl Follower {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if let Some((batch, rows)) = &mut self.batch {
                let row = rows.pop_front().and_then(|row| Row::read(batch, row));
                match row {
                    Some(row) => return Some(event("pair", row.uuid.to_string(), &rrpair(&row).to_string())),
                    None => self.batch = None,
                }
            }
            match self.news.recv().await {
                Ok(news) => self.take(&news),
                // The next rows say how many came before them.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn take(&mut self, news: &News) {
        let missed = self.expected.map_or(0, |expected| news.before.saturating_sub(expected));
        if missed > 0 {
            self.events.push_back(event("missed", String::new(), &format!("{{\"missed\":{missed}}}")));
        }
        let Ok(batch) = news.block.batch() else {
            // The next rows say how many came before them.
            self.expected = Some(news.before);
            return;
        };
        self.expected = Some(news.before + batch.num_rows() as u64);
        let rows = self.filter.text_rows(&batch, self.filter.rows(&batch));
        self.batch = Some((batch, rows.into()));
    }
}

fn event(kind: &str, id: String, data: &str) -> Event {
    let event = Event::default().event(kind).data(data);
    if id.is_empty() { event } else { event.id(id) }
}
