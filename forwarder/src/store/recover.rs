//! Reads back what a store knew when it ended, however it ended.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use common::{disk, wire};
use prost::Message as _;

use super::checkpoint::Checkpoint;
use super::generation::{Full, Generation, Raw};
use super::ledger::Ledger;
use super::log::{self, Kind, Record};
use super::place::Place;
use super::seal::Step;
use super::{Counters, Options};

/// What there was.
pub(super) struct Recovered {
    pub(super) checkpoint: Checkpoint,
    pub(super) ledger: Ledger,
    pub(super) full: Vec<Full>,
    pub(super) next_generation: u64,
    pub(super) counters: Counters,
    pub(super) lock: File,
    pub(super) place: Place,
}

/// Where the log is.
pub(super) fn log_folder(data_dir: &Path) -> PathBuf {
    data_dir.join("wal")
}

/// Where damaged files go.
pub(super) fn quarantine_folder(data_dir: &Path) -> PathBuf {
    data_dir.join("quarantine")
}

/// Where the checkpoint is, and where it is once more.
pub(super) fn checkpoint_paths(data_dir: &Path) -> [PathBuf; 2] {
    [data_dir.join("checkpoint"), data_dir.join("checkpoint.copy")]
}

/// What the replay of a log gives.
pub(super) struct Replayed {
    pub(super) ledger: Ledger,
    pub(super) full: Vec<Full>,
}

/// Opens the folder for writing.
pub(super) fn recover(options: &Options) -> anyhow::Result<Recovered> {
    let data_dir = &options.data_dir;
    for folder in [log_folder(data_dir), quarantine_folder(data_dir)] {
        fs::create_dir_all(&folder).context("make the data folder")?;
        disk::sync_parent(&folder).context("make the data folder")?;
    }
    let lock = lock(data_dir)?;
    let mut counters = Counters::default();
    let mut checkpoint = match read_checkpoint(data_dir)? {
        Some(found) => {
            if !found.damaged.is_empty() {
                mend_checkpoint(data_dir, &found, &mut counters).context("mend the checkpoint")?;
            }
            found.checkpoint
        }
        None => {
            let made = Checkpoint { store_id: fastrand::u64(1..), ..Checkpoint::default() };
            write_checkpoint(data_dir, &made, |_| Ok(()))?;
            made
        }
    };
    let place = Place::make(data_dir, options.store_url.as_ref())?;
    put_damaged_aside(data_dir, &place, &mut checkpoint, &mut counters)?;
    counters.expired_rows = checkpoint.expired_rows;
    counters.damaged_rows = checkpoint.damaged_rows;
    let cluster = Arc::from(options.cluster.as_str());
    let mut replayed = Replayed { ledger: checkpoint.ledger.clone(), full: Vec::new() };
    let files = log_files(data_dir).context("list the log")?;
    let last = files.last().map(|(generation, _)| *generation);
    for (generation, path) in &files {
        if *generation <= checkpoint.sealed_through {
            fs::remove_file(path).context("remove a sealed file of the log")?;
            continue;
        }
        let file = Bytes::from(fs::read(path).context("read the log")?);
        let contents = log::read(&file, *generation);
        let ending = Some(*generation) == last;
        mend(options, path, &contents, ending, &mut counters).context("mend the log")?;
        if contents.records.is_empty() {
            fs::remove_file(path).context("remove an empty file of the log")?;
        } else {
            replayed.replay(&cluster, *generation, contents);
        }
    }
    let next_generation = last.unwrap_or(0).max(checkpoint.sealed_through) + 1;
    Ok(Recovered {
        checkpoint,
        ledger: replayed.ledger,
        full: replayed.full,
        next_generation,
        counters,
        lock,
        place,
    })
}

/// Takes segments that are cut short or gone out of the catalog.
fn put_damaged_aside(
    data_dir: &Path,
    place: &Place,
    checkpoint: &mut Checkpoint,
    counters: &mut Counters,
) -> anyhow::Result<()> {
    let (mut whole, mut damaged) = (Vec::new(), Vec::new());
    for segment in std::mem::take(&mut checkpoint.segments) {
        use io::ErrorKind::{InvalidData, InvalidInput, NotFound, UnexpectedEof};
        match place.check(&segment) {
            Ok(()) => whole.push(segment),
            Err(error) if matches!(error.kind(), InvalidData | InvalidInput | NotFound | UnexpectedEof) => {
                damaged.push(segment);
            }
            Err(error) => return Err(error).context("look at a segment"),
        }
    }
    checkpoint.segments = whole;
    if damaged.is_empty() {
        return Ok(());
    }
    checkpoint.damaged_rows += damaged.iter().map(|segment| segment.rows).sum::<u64>();
    checkpoint.revision += 1;
    write_checkpoint(data_dir, checkpoint, |_| Ok(()))?;
    for segment in damaged {
        counters.quarantined_files += 1;
        tracing::error!(
            segment = segment.path,
            rows = segment.rows,
            "segment is damaged, the rest is served"
        );
        place.quarantine(&segment, &quarantine_folder(data_dir)).context("put a segment aside")?;
    }
    Ok(())
}

fn lock(data_dir: &Path) -> anyhow::Result<File> {
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(data_dir.join("lock"));
    let lock = lock.context("open the lock of the data folder")?;
    lock.try_lock().context("lock the data folder: another process uses it")?;
    Ok(lock)
}

/// The latest checkpoint that can be read.
pub(super) struct Found {
    pub(super) checkpoint: Checkpoint,
    /// Where one is that cannot.
    pub(super) damaged: Vec<PathBuf>,
}

/// `None` when there never was one.
///
/// # Errors
/// When there is one and neither it nor its copy can be read: to go on would be to begin the accounts anew.
pub(super) fn read_checkpoint(data_dir: &Path) -> anyhow::Result<Option<Found>> {
    let mut latest: Option<Checkpoint> = None;
    let mut damaged = Vec::new();
    let mut problem = None;
    for path in checkpoint_paths(data_dir) {
        let file = match fs::read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).context("read the checkpoint"),
        };
        match Checkpoint::read(&file) {
            Ok(read) if latest.as_ref().is_some_and(|latest| latest.revision >= read.revision) => {}
            Ok(read) => latest = Some(read),
            Err(error) => {
                problem = Some(error);
                damaged.push(path);
            }
        }
    }
    match (latest, problem) {
        (Some(checkpoint), _) => Ok(Some(Found { checkpoint, damaged })),
        (None, Some(error)) => Err(error).context("read the checkpoint: neither it nor its copy is whole"),
        (None, None) => Ok(None),
    }
}

/// Writes the checkpoint and its copy, each so that there is always a whole one.
pub(super) fn write_checkpoint(
    data_dir: &Path,
    checkpoint: &Checkpoint,
    mut at: impl FnMut(Step) -> io::Result<()>,
) -> anyhow::Result<()> {
    let file = checkpoint.write()?;
    let [path, copy] = checkpoint_paths(data_dir);
    disk::replace_between(&path, &file, || at(Step::CheckpointWritten)).context("write the checkpoint")?;
    at(Step::CheckpointNamed)?;
    disk::replace(&copy, &file).context("write the copy of the checkpoint")
}

fn mend_checkpoint(data_dir: &Path, found: &Found, counters: &mut Counters) -> anyhow::Result<()> {
    for path in &found.damaged {
        let name = path.file_name().unwrap_or_default();
        fs::copy(path, quarantine_folder(data_dir).join(name))?;
        counters.quarantined_files += 1;
        tracing::error!(file = %name.display(), "checkpoint is damaged, its copy is whole");
    }
    write_checkpoint(data_dir, &found.checkpoint, |_| Ok(()))
}

/// The files of the log by generation; anything else in the folder is left alone.
pub(super) fn log_files(data_dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(log_folder(data_dir))? {
        let path = entry?.path();
        let generation = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let Some(generation) = generation
            && path.extension().is_some_and(|extension| extension == "wal")
        {
            files.push((generation, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Cuts off what was never acknowledged; keeps a copy of a file that lost something.
fn mend(
    options: &Options,
    path: &Path,
    contents: &log::Contents,
    last: bool,
    counters: &mut Counters,
) -> io::Result<()> {
    let torn = if last { contents.torn_bytes } else { 0 };
    // Behind the last file, a file that ends in a torn record ended so by damage. Half a header is no damage:
    // nothing was ever written to a file of which not even that got through.
    let half_header = contents.records.is_empty() && contents.torn_bytes <= log::FILE_HEADER_BYTES as u64;
    let lost = contents.lost_bytes + if last || half_header { 0 } else { contents.torn_bytes };
    if lost > 0 {
        let name = path.file_name().unwrap_or_default();
        let copy = quarantine_folder(&options.data_dir).join(name);
        if !copy.exists() {
            fs::copy(path, &copy)?;
        }
        counters.quarantined_files += 1;
        counters.lost_bytes += lost;
        tracing::error!(file = %name.display(), lost_bytes = lost, "log is damaged, the rest of it is kept");
    }
    if torn > 0 {
        counters.torn_bytes += torn;
        tracing::warn!(torn_bytes = torn, "log ended in a write that was never acknowledged");
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(contents.good_bytes)?;
        file.sync_all()?;
    }
    Ok(())
}

impl Replayed {
    /// Applies the records of one file.
    pub(super) fn replay(&mut self, cluster: &Arc<str>, number: u64, contents: log::Contents) {
        let mut generation = Generation::default();
        (generation.number, generation.log_bytes) = (number, contents.good_bytes);
        for record in contents.records {
            match self.apply(cluster, &record) {
                Ok(Some(raw)) => generation.push(raw),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(error = format!("{error:#}"), "record of the log makes no sense");
                }
            }
        }
        generation.end();
        self.full.push(Full { generation, ledger: self.ledger.clone() });
    }

    fn apply(&mut self, cluster: &Arc<str>, record: &Record) -> anyhow::Result<Option<Raw>> {
        let payload = record.payload.clone();
        match record.kind {
            Kind::Batch => {
                let request = wire::CaptureRequest::decode(payload)?;
                self.ledger.accept(&request, true)?;
                let places = request.places()?;
                let accepted = self.ledger.batch(&request, true, record.at_ms)?;
                let cluster = Arc::clone(cluster);
                return Ok(Some(Raw::new(request, &places, accepted.known, cluster, &self.ledger)));
            }
            Kind::Register => {
                self.ledger.register(&wire::RegisterRequest::decode(payload)?, record.at_ms);
            }
            Kind::CheckIn => {
                self.ledger.check_in(&wire::CheckInRequest::decode(payload)?, record.at_ms)?;
            }
            Kind::Reap => {
                let told = wire::CheckInRequest::decode(payload)?;
                self.ledger.reap(&told.proxy_id, told.epoch);
            }
        }
        Ok(None)
    }
}
