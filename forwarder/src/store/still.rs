//! Looks at the folder of a store without touching it, also while a daemon works in it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use url::Url;

use super::checkpoint::Checkpoint;
use super::ledger::Ledger;
use super::place::Place;
use super::recover::{Replayed, log_files, read_checkpoint};
use super::{Snapshot, log};

/// How often the daemon may seal something while we look.
const ATTEMPTS: usize = 20;

/// What a store held at one moment.
#[derive(Debug)]
pub struct Still {
    /// The rows.
    pub snapshot: Snapshot,
    /// Where the segments are.
    pub place: Place,
    /// The accounts.
    pub ledger: Ledger,
}

impl Still {
    /// Reads the checkpoint, and replays the log in memory.
    ///
    /// # Errors
    /// When there is no store in the folder or it cannot be read.
    pub fn open(data_dir: &Path, store_url: Option<&Url>, cluster: &str) -> anyhow::Result<Self> {
        let place = Place::open(data_dir, store_url)?;
        for _ in 0..ATTEMPTS {
            let found = read_checkpoint(data_dir)?.context("there is no store in this folder")?;
            let checkpoint = found.checkpoint;
            let Some(replayed) = replay(data_dir, cluster, &checkpoint)? else { continue };
            // What was sealed meanwhile would be there twice or not at all.
            let after = read_checkpoint(data_dir)?.map(|found| found.checkpoint.revision);
            if after != Some(checkpoint.revision) {
                continue;
            }
            let blocks = replayed.full.iter().flat_map(|full| full.generation.blocks());
            let blocks = blocks.collect();
            let segments = checkpoint.segments.into_iter().map(Into::into).collect();
            return Ok(Self { snapshot: Snapshot { segments, blocks }, place, ledger: replayed.ledger });
        }
        anyhow::bail!("the store changed too often while it was read")
    }
}

/// `None` when a file was sealed before it could be read.
fn replay(data_dir: &Path, cluster: &str, checkpoint: &Checkpoint) -> anyhow::Result<Option<Replayed>> {
    let cluster = Arc::from(cluster);
    let mut replayed = Replayed { ledger: checkpoint.ledger.clone(), full: Vec::new() };
    for (generation, path) in log_files(data_dir).context("list the log")? {
        if generation <= checkpoint.sealed_through {
            continue;
        }
        let file = match std::fs::read(&path) {
            Ok(file) => Bytes::from(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context("read the log"),
        };
        replayed.replay(&cluster, generation, log::read(&file, generation));
    }
    Ok(Some(replayed))
}
