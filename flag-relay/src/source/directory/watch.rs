//! Hears of changes in folders from the kernel; where it does not, the folder is looked through from time to time.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use inotify::{EventStream, Inotify, WatchMask};
use tokio::time;
use tokio_stream::StreamExt as _;

/// Watches folders, not what is in the folders within.
pub(super) struct Watch {
    folder: PathBuf,
    events: Option<EventStream<[u8; 4096]>>,
    watched: BTreeSet<PathBuf>,
}

impl Watch {
    pub(super) fn new(folder: &Path) -> Self {
        let events = Inotify::init().and_then(|inotify| inotify.into_event_stream([0; 4096]));
        let events =
            events.inspect_err(|error| tracing::warn!(%error, "the kernel does not tell of changes"));
        Self { folder: folder.to_owned(), events: events.ok(), watched: BTreeSet::new() }
    }

    /// Whether changes are heard of as they happen.
    pub(super) fn hears(&self) -> bool {
        self.watched.contains(&self.folder)
    }

    /// Watches the folder itself and these. A folder that was replaced is another one, so all are told anew.
    pub(super) fn look_at<'a>(&mut self, folders: impl Iterator<Item = &'a Path>) {
        let Some(events) = &mut self.events else { return };
        let mask = WatchMask::CLOSE_WRITE
            | WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVED_FROM
            | WatchMask::MOVED_TO
            | WatchMask::ONLYDIR;
        let folders = folders.map(Path::to_owned).chain([self.folder.clone()]);
        self.watched = folders.filter(|folder| events.watches().add(folder, mask).is_ok()).collect();
    }

    /// Returns when something happened and it was quiet since.
    pub(super) async fn heard(&mut self, quiet: Duration) {
        let Some(events) = &mut self.events else { return std::future::pending().await };
        if events.next().await.is_none() {
            return std::future::pending().await;
        }
        while time::timeout(quiet, events.next()).await.is_ok_and(|event| event.is_some()) {}
    }
}
