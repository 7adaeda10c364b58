//! Reads the files of a queue without the daemon, for people.

use std::{io, path::Path, sync::Arc};

use common::disk::FileSystem;

use super::{Balance, frame, recover::recover};

/// One record.
#[derive(Debug)]
pub struct Line {
    /// The file that it stands in.
    pub file: String,
    /// Whose it is.
    pub agent: String,
    /// Its number among those of its agent.
    pub number: u64,
    /// When it came, in milliseconds since 1970.
    pub time_ms: u64,
    /// The request line and header fields, as kept.
    pub head: String,
    /// Length of its body.
    pub body_bytes: u32,
    /// Whether it still waits.
    pub is_queued: bool,
}

/// Tells every record in the folder `queue` of a data folder to `told`, and returns the balance.
///
/// # Errors
/// When a file cannot be read.
pub fn list(data_dir: &Path, told: &mut dyn FnMut(Line)) -> io::Result<Balance> {
    let folder = data_dir.join("queue");
    if !folder.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("no folder {}", folder.display())));
    }
    let (store, _) = recover(Arc::new(FileSystem), &folder)?;
    let (numbers, ledger) = {
        let state = store.state();
        (state.segments.keys().copied().collect::<Vec<_>>(), state.ledger.clone())
    };
    for number in numbers {
        let bytes = store.disk.read(&store.segment_path(number))?;
        let Some(head) = frame::read_file_head(&bytes) else { continue };
        for (_, record) in frame::read(&bytes, frame::FILE_HEAD, head.mark).records {
            let agent = ledger.agent(record.fixed.agent);
            told(Line {
                file: format!("{number:016}.log"),
                is_queued: record.fixed.number > agent.done.number,
                agent: agent.name,
                number: record.fixed.number,
                time_ms: record.fixed.time_ms,
                head: String::from_utf8_lossy(record.head.get(record.origin().1..).unwrap_or_default())
                    .into_owned(),
                body_bytes: record.fixed.body_bytes,
            });
        }
    }
    Ok(ledger.balance())
}
