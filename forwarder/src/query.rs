//! Asks what is stored: sealed and unsealed alike, from the moment it was acknowledged.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::store::place::Place;
use crate::store::{Segment, Snapshot, Store};

pub mod cursor;
pub mod filter;
pub mod pairs;
mod search;
mod segment;
pub mod sql;
pub mod stats;
mod table;
#[cfg(test)]
mod tests;

pub use cursor::Cursor;
pub use filter::Filter;
pub use pairs::Page;

use segment::Segments;

/// Statements of SQL that are worked on at once; each may take its share of memory.
const SEATS: usize = 3;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked is not allowed or makes no sense; the text is for whoever asked.
    #[error("{0}")]
    Refused(String),
    /// It took longer than is allowed.
    #[error("the time limit of {0:?} is over")]
    Late(std::time::Duration),
    /// It needed more memory than is allowed.
    #[error("the memory limit is reached")]
    Memory,
    /// What is stored cannot be reached.
    #[error("what is stored cannot be read")]
    Unreadable(#[source] anyhow::Error),
}

#[derive(Clone)]
enum Source {
    Live(Store),
    Still { snapshot: Arc<Snapshot>, damaged: Arc<Mutex<HashSet<String>>> },
}

/// Answers questions. Clones share what they remember.
#[derive(Clone)]
pub struct Query {
    source: Source,
    segments: Segments,
    /// Statements that are worked on at once.
    seats: Arc<Semaphore>,
}

impl Query {
    /// Asks a store that may change meanwhile.
    pub fn live(store: Store) -> Self {
        let segments = Segments::new(store.place());
        Self { source: Source::Live(store), segments, seats: Arc::new(Semaphore::new(SEATS)) }
    }

    /// Asks what a store held at one moment, without touching it.
    pub fn still(snapshot: Snapshot, place: Place) -> Self {
        let source = Source::Still { snapshot: Arc::new(snapshot), damaged: Arc::default() };
        Self { source, segments: Segments::new(place), seats: Arc::new(Semaphore::new(SEATS)) }
    }

    fn snapshot(&self) -> Snapshot {
        match &self.source {
            Source::Live(store) => store.snapshot(),
            Source::Still { snapshot, damaged } => {
                let damaged = damaged.lock().unwrap_or_else(PoisonError::into_inner);
                let mut snapshot = Snapshot::clone(snapshot);
                snapshot.segments.retain(|segment| !damaged.contains(&segment.path));
                snapshot
            }
        }
    }

    /// The next snapshot is without this segment.
    async fn put_aside(&self, segment: &Arc<Segment>) -> Result<(), Error> {
        match &self.source {
            Source::Live(store) => store.damaged(segment).await.map_err(Error::Unreadable),
            Source::Still { damaged, .. } => {
                tracing::error!(
                    segment = segment.path,
                    rows = segment.rows,
                    "segment is damaged, the rest is read"
                );
                damaged.lock().unwrap_or_else(PoisonError::into_inner).insert(segment.path.clone());
                Ok(())
            }
        }
    }
}
