//! Turns full files of the log into Parquet, step by step so that a kill between any two loses and doubles nothing.
//!
//! 1. The segments are written under names that depend on the store and the generation alone.
//! 2. The checkpoint that names them, with the accounts at the end of the generation, takes the old one's place.
//! 3. The file of the log is removed.
//!
//! A kill before 2 leaves objects that no catalog names; the next run writes the same names again. A kill between 2
//! and 3 leaves a file of the log that the checkpoint covers; it is removed when the store is opened.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use common::{disk, quiet::Quiet};
use futures::TryStreamExt as _;

use super::checkpoint::{Checkpoint, Segment};
use super::generation::Full;
use super::pace::Pace;
use super::parquet::Part;
use super::recover::{log_folder, quarantine_folder, write_checkpoint};
use super::{Store, background, now_ms, parquet, retention};

/// Where a kill may fall, for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The Parquet is in memory.
    Encoded,
    /// The segments are durable.
    Put,
    /// The new checkpoint is durable under another name.
    CheckpointWritten,
    /// The new checkpoint has the name.
    CheckpointNamed,
    /// So has its copy.
    CheckpointCopied,
    /// The file of the log is gone.
    LogRemoved,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 6] = [
        Self::Encoded,
        Self::Put,
        Self::CheckpointWritten,
        Self::CheckpointNamed,
        Self::CheckpointCopied,
        Self::LogRemoved,
    ];
}

/// Called at every step; an error ends the sealing there.
pub type AtStep<'a> = dyn FnMut(Step) -> io::Result<()> + Send + 'a;

const RETENTION_EVERY: Duration = Duration::from_secs(30);
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MOST: Duration = Duration::from_secs(60);

impl Store {
    pub(super) async fn sealing(&self) {
        if let Err(error) = self.sweep().await {
            tracing::warn!(error = format!("{error:#}"), "leftovers of sealing cannot be removed");
        }
        let mut pause = RETRY_FIRST;
        while !self.shared.closed.load(Ordering::Acquire) {
            match self.seal_and_retain().await {
                Ok(true) => pause = RETRY_FIRST,
                Ok(false) => {
                    // A timeout is as good a reason to look again as a notification.
                    drop(tokio::time::timeout(RETENTION_EVERY, self.shared.full.notified()).await);
                }
                Err(error) => {
                    if pause == RETRY_FIRST {
                        tracing::error!(error = format!("{error:#}"), "log cannot be sealed, trying again");
                    }
                    self.shared.write(|state| state.counters.seal_failures += 1);
                    // Woken early only by the close, or by one more thing to seal.
                    drop(tokio::time::timeout(pause, self.shared.full.notified()).await);
                    pause = (pause * 2).min(RETRY_MOST);
                }
            }
        }
    }

    /// As [`Store::seal_next`], and makes room for what comes: there may be one file after the other to seal, without
    /// an end.
    pub(super) async fn seal_and_retain(&self) -> anyhow::Result<bool> {
        let sealed = self.seal_next(&mut |_| Ok(())).await?;
        if let Err(error) = self.retain().await {
            static QUIET: Quiet = Quiet::new(RETENTION_EVERY);
            if let Some(suppressed) = QUIET.speak(Instant::now()) {
                tracing::warn!(error = format!("{error:#}"), suppressed, "old segments cannot be removed");
            }
        }
        Ok(sealed)
    }

    /// Seals the oldest full file of the log. Returns whether there was one.
    ///
    /// # Errors
    /// When a step fails; everything is as readable as before, and it can be tried again.
    pub async fn seal_next(&self, at: &mut AtStep<'_>) -> anyhow::Result<bool> {
        let Some(full) = self.shared.read(|state| state.full.front().cloned()) else { return Ok(false) };
        let parts = self.encode(Arc::clone(&full)).await?;
        at(Step::Encoded)?;
        // Not before: that may take long, and who finds a damaged segment needs it too.
        let mut checkpoint = self.checkpoint.lock().await;
        let generation = full.generation.number;
        if checkpoint.sealed_through >= generation {
            // Somebody else was faster.
            return Ok(true);
        }
        let mut segments = Vec::new();
        for part in parts {
            self.place.put(&part.segment.path, part.bytes).await?;
            segments.push(part.segment);
        }
        at(Step::Put)?;
        let mut next = checkpoint.clone();
        next.sealed_through = generation;
        next.ledger = full.ledger.clone();
        next.segments.extend(segments.iter().cloned());
        next.revision += 1;
        write_checkpoint(&self.shared.options.data_dir, &next, &mut *at)?;
        at(Step::CheckpointCopied)?;
        *checkpoint = next;
        self.publish_sealed(&full, segments);
        self.remove_log(generation);
        at(Step::LogRemoved)?;
        Ok(true)
    }

    async fn encode(&self, full: Arc<Full>) -> anyhow::Result<Vec<Part>> {
        let store_id = self.checkpoint.lock().await.store_id;
        let shared = Arc::clone(&self.shared);
        let encode = move || {
            let mut pace = Pace::new(|| shared.sealing_may_wait());
            let between = &mut || {
                if pace.step() {
                    shared.write(|state| state.counters.seal_rests += 1);
                }
            };
            parquet::encode(store_id, &full.generation, between)
        };
        background::run(encode).await?.context("make Parquet")
    }

    fn publish_sealed(&self, full: &Full, segments: Vec<Segment>) {
        self.shared.backlog.fetch_sub(full.generation.log_bytes, Ordering::Relaxed);
        self.shared.sealed.notify_waiters();
        self.shared.write(|state| {
            state.full.pop_front();
            for segment in segments {
                state.counters.sealed_rows += segment.rows;
                state.counters.sealed_bytes += segment.bytes;
                state.segments.push(Arc::new(segment));
            }
        });
    }

    fn remove_log(&self, generation: u64) {
        let path = log_folder(&self.shared.options.data_dir).join(format!("{generation:020}.wal"));
        if let Err(error) = std::fs::remove_file(&path).and_then(|()| disk::sync_parent(&path)) {
            tracing::warn!(%error, "sealed file of the log cannot be removed");
        }
    }

    /// Removes what is too old or too much.
    ///
    /// # Errors
    /// When the checkpoint cannot be written or an object cannot be removed.
    pub async fn retain(&self) -> anyhow::Result<()> {
        let options = &self.shared.options;
        let now_ns = i64::try_from(now_ms()).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        let segments = self.shared.read(|state| state.segments.clone());
        let expired = retention::expired(&segments, now_ns, options.max_bytes, options.max_age);
        if expired.is_empty() {
            return Ok(());
        }
        let rows = self.forget(&expired, |checkpoint, rows| checkpoint.expired_rows += rows).await?;
        tracing::info!(segments = expired.len(), rows, "old segments are removed");
        for segment in expired {
            self.place.remove(&segment.path).await.context("remove a segment")?;
        }
        Ok(())
    }

    /// Takes segments out of the catalog. Returns how many rows they had.
    async fn forget(
        &self,
        gone: &[Arc<Segment>],
        count: impl FnOnce(&mut Checkpoint, u64),
    ) -> anyhow::Result<u64> {
        let mut checkpoint = self.checkpoint.lock().await;
        let mut next = checkpoint.clone();
        let before = next.segments.len();
        let mut rows = 0;
        next.segments.retain(|segment| {
            let stays = !gone.iter().any(|gone| gone.path == segment.path);
            rows += if stays { 0 } else { segment.rows };
            stays
        });
        if next.segments.len() == before {
            return Ok(0);
        }
        count(&mut next, rows);
        next.revision += 1;
        write_checkpoint(&self.shared.options.data_dir, &next, |_| Ok(()))?;
        self.shared.write(|state| {
            state.segments.retain(|segment| !gone.iter().any(|gone| gone.path == segment.path));
            state.counters.expired_rows = next.expired_rows;
            state.counters.damaged_rows = next.damaged_rows;
        });
        *checkpoint = next;
        Ok(rows)
    }

    /// A query found that a segment cannot be read: it is put aside, told and counted, and the rest is served.
    ///
    /// # Errors
    /// When the checkpoint cannot be written.
    pub async fn damaged(&self, segment: &Arc<Segment>) -> anyhow::Result<()> {
        let gone = std::slice::from_ref(segment);
        let rows = self.forget(gone, |checkpoint, rows| checkpoint.damaged_rows += rows).await?;
        if rows == 0 {
            return Ok(());
        }
        tracing::error!(segment = segment.path, rows, "segment is damaged, the rest is served");
        self.shared.write(|state| state.counters.quarantined_files += 1);
        let quarantine = quarantine_folder(&self.shared.options.data_dir);
        self.place.quarantine(segment, &quarantine).context("put a segment aside")
    }

    /// Removes objects of this store that the catalog does not name and that will not be written again: a kill in
    /// the middle of retention leaves such.
    async fn sweep(&self) -> anyhow::Result<()> {
        let checkpoint = self.checkpoint.lock().await;
        let known: std::collections::HashSet<_> =
            checkpoint.segments.iter().map(|segment| self.place.key(&segment.path)).collect();
        let ours = format!("{:016x}-", checkpoint.store_id);
        let mut objects = self.place.objects.list(Some(self.place.prefix()));
        while let Some(object) = objects.try_next().await? {
            let generation = object.location.filename().and_then(|name| {
                name.strip_prefix(ours.as_str())?.strip_suffix(".parquet")?.parse::<u64>().ok()
            });
            if generation.is_some_and(|generation| generation <= checkpoint.sealed_through)
                && !known.contains(&object.location)
            {
                object_store::ObjectStoreExt::delete(&self.place.objects, &object.location).await?;
            }
        }
        Ok(())
    }
}
