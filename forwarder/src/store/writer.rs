//! The one thread that writes the log: many requests, one write, one fdatasync, then every answer.
//!
//! The order is what makes an acknowledgement true: judge against the staged ledger, write, sync, publish the rows
//! and the ledger, answer. Whatever fails before the sync has come back leaves the published state as it was.
//!
//! After a failed sync nothing is known of that file, so its descriptor is closed and never asked again. The group
//! is written once more to a new file; if that fails as well it is refused. Either way replay is right: if records
//! of the first attempt did reach the disk, those of the second are known by their sequences and stored once.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use common::{
    disk::{LogFile, is_full},
    wire,
};
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::files::Files;
use super::generation::Raw;
use super::ledger::Ledger;
use super::log::{self, Kind};
use super::shared::Shared;
use super::{Health, Refused};

/// What the writer is asked to make durable.
pub(super) enum Order {
    /// It was seen to decode: its exchanges are at these places.
    Batch(wire::CaptureRequest, Vec<wire::Place>),
    Register(wire::RegisterRequest),
    CheckIn(wire::CheckInRequest),
    Reap(wire::CheckInRequest),
    /// Ends the current file, so that it can be sealed.
    Roll,
    /// Nothing comes after this.
    Close,
}

/// An order with the way back.
pub(super) struct Job {
    pub(super) order: Order,
    pub(super) at_ms: u64,
    pub(super) reply: oneshot::Sender<Result<u64, Refused>>,
    /// Room in the queue, given back when the job is done.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

struct OpenFile {
    file: Box<dyn LogFile>,
    mark: u32,
    /// Length up to which everything is acknowledged.
    synced: u64,
    since: Instant,
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) disk: Box<dyn Files>,
    pub(super) folder: PathBuf,
    pub(super) jobs: Receiver<Job>,
    pub(super) staged: Ledger,
    cluster: Arc<str>,
    /// Number of the file that is written, or is next.
    generation: u64,
    file: Option<OpenFile>,
    buffer: Vec<u8>,
}

type Answer = (oneshot::Sender<Result<u64, Refused>>, Result<u64, Refused>, Option<OwnedSemaphorePermit>);

/// What is written to the log.
enum Record {
    Batch(wire::CaptureRequest),
    Register(wire::RegisterRequest),
    CheckIn(wire::CheckInRequest),
    Reap(wire::CheckInRequest),
}

impl Record {
    fn kind(&self) -> Kind {
        match self {
            Self::Batch(_) => Kind::Batch,
            Self::Register(_) => Kind::Register,
            Self::CheckIn(_) => Kind::CheckIn,
            Self::Reap(_) => Kind::Reap,
        }
    }

    fn encode(&self, log: &mut Vec<u8>) {
        // A Vec grows as needed: it is never too short for a message.
        match self {
            Self::Batch(told) => told.encode(log),
            Self::Register(told) => told.encode(log),
            Self::CheckIn(told) | Self::Reap(told) => told.encode(log),
        }
        .unwrap_or_default();
    }
}

/// What one group is going to change.
#[derive(Default)]
struct Group {
    records: Vec<(u64, Record)>,
    bytes: usize,
    raws: Vec<Raw>,
    touched: Vec<String>,
    answers: Vec<Answer>,
    closing: bool,
    rolling: bool,
}

/// Bytes after which a group is not made longer.
const GROUP_BYTES: usize = 8 << 20;

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        disk: Box<dyn Files>,
        folder: PathBuf,
        jobs: Receiver<Job>,
        staged: Ledger,
        generation: u64,
    ) -> Self {
        let cluster = shared.options.cluster.as_str().into();
        Self { shared, disk, folder, jobs, staged, cluster, generation, file: None, buffer: Vec::new() }
    }

    /// Works until it is told to close or until nobody can ask any more.
    pub(super) fn run(mut self) {
        loop {
            match self.jobs.recv_timeout(self.until_roll()) {
                Ok(first) => {
                    if self.commit(first) {
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.must_roll() {
                self.roll();
            }
        }
    }

    fn until_roll(&self) -> Duration {
        const IDLE: Duration = Duration::from_secs(3600);
        self.file.as_ref().map_or(IDLE, |open| {
            self.shared.options.seal_age.saturating_sub(open.since.elapsed()).max(Duration::from_millis(10))
        })
    }

    fn must_roll(&self) -> bool {
        self.file.as_ref().is_some_and(|open| {
            open.synced >= self.shared.options.seal_bytes
                || open.since.elapsed() >= self.shared.options.seal_age
        })
    }

    /// Everything that waits becomes one group. Returns whether it was the last.
    fn commit(&mut self, first: Job) -> bool {
        let mut group = Group::default();
        let mut next = Some(first);
        while let Some(job) = next {
            self.stage(job, &mut group);
            next = if group.bytes < GROUP_BYTES { self.jobs.try_recv().ok() } else { None };
        }
        let closing = group.closing;
        self.settle(group);
        closing
    }

    fn stage(&mut self, job: Job, group: &mut Group) {
        let Job { order, at_ms, reply, room } = job;
        let judged = match order {
            Order::Batch(request, places) => self.stage_batch(request, &places, at_ms, group),
            Order::Register(told) => {
                let through = self.staged.register(&told, at_ms);
                group.touched.push(told.proxy_id.clone());
                group.records.push((at_ms, Record::Register(told)));
                Ok(through)
            }
            Order::CheckIn(told) => match self.staged.check_in(&told, at_ms) {
                Ok(news) => {
                    group.touched.push(told.proxy_id.clone());
                    if news {
                        group.records.push((at_ms, Record::CheckIn(told)));
                    }
                    Ok(0)
                }
                Err(contradiction) => Err(contradiction.into()),
            },
            Order::Reap(told) => {
                if self.staged.reap(&told.proxy_id, told.epoch) {
                    group.touched.push(told.proxy_id.clone());
                    group.records.push((at_ms, Record::Reap(told)));
                }
                Ok(0)
            }
            Order::Roll => {
                group.rolling = true;
                Ok(0)
            }
            Order::Close => {
                group.closing = true;
                Ok(0)
            }
        };
        group.answers.push((reply, judged, room));
    }

    fn stage_batch(
        &mut self,
        request: wire::CaptureRequest,
        places: &[wire::Place],
        at_ms: u64,
        group: &mut Group,
    ) -> Result<u64, Refused> {
        let accepted = self.staged.batch(&request, false, at_ms)?;
        group.touched.push(request.proxy_id.clone());
        if accepted.known < request.count {
            group.bytes += request.exchanges.len();
            group.raws.push(Raw::new(
                request.clone(),
                places,
                accepted.known,
                Arc::clone(&self.cluster),
                &self.staged,
            ));
            group.records.push((at_ms, Record::Batch(request)));
        }
        Ok(accepted.stored_through)
    }

    /// Writes, publishes and answers one group.
    fn settle(&mut self, mut group: Group) {
        let written = if group.records.is_empty() { Ok(()) } else { self.write(&group) };
        group.touched.sort_unstable();
        group.touched.dedup();
        match written {
            Ok(()) => {
                let log_bytes = self.file.as_ref().map_or(0, |open| open.synced);
                self.shared.publish(log_bytes, &self.staged, &group.touched, group.raws);
                if group.rolling {
                    self.roll();
                }
                for (reply, judged, room) in group.answers {
                    drop(room);
                    // Whoever asked may have gone; what was asked is done.
                    drop(reply.send(judged));
                }
            }
            Err(error) => {
                self.shared.unpublish(&mut self.staged, &group.touched);
                let refused = Refused::of(error);
                for (reply, judged, _room) in group.answers {
                    drop(reply.send(judged.and_then(|_| Err(refused.clone()))));
                }
            }
        }
    }

    fn write(&mut self, group: &Group) -> io::Result<()> {
        let had_file = self.file.is_some();
        let mut outcome = self.write_once(group);
        if let Err(error) = &outcome
            && had_file
            && self.file.is_none()
        {
            tracing::error!(%error, "log cannot be synced, going on in a new file");
            outcome = self.write_once(group);
        }
        self.shared.set_health(match &outcome {
            Ok(()) => Health::Good,
            Err(error) if is_full(error) => Health::Full,
            Err(_) => Health::Failing,
        });
        outcome
    }

    /// Leaves no file open when nothing is known of it any more.
    fn write_once(&mut self, group: &Group) -> io::Result<()> {
        let mut open = match self.file.take() {
            Some(open) => open,
            None => self.create()?,
        };
        self.buffer.clear();
        let synced = u32::try_from(open.synced).unwrap_or(u32::MAX);
        for (at_ms, record) in &group.records {
            log::append(&mut self.buffer, open.mark, synced, record.kind(), *at_ms, |log| record.encode(log));
        }
        if let Err(error) = open.file.append(&self.buffer) {
            if open.file.truncate(open.synced).is_ok() {
                self.file = Some(open);
            } else {
                self.abandon();
            }
            return Err(error);
        }
        if let Err(error) = open.file.sync() {
            self.abandon();
            return Err(error);
        }
        open.synced += self.buffer.len() as u64;
        self.file = Some(open);
        Ok(())
    }

    fn create(&mut self) -> io::Result<OpenFile> {
        let path = self.folder.join(format!("{:020}.wal", self.generation));
        let mark = fastrand::u32(1..);
        let made = self.disk.create(&path).and_then(|mut file| {
            file.append(&log::file_header(mark, self.generation))?;
            Ok(file)
        });
        match made {
            Ok(file) => {
                let synced = log::FILE_HEADER_BYTES as u64;
                Ok(OpenFile { file, mark, synced, since: Instant::now() })
            }
            Err(error) => {
                // Half a file of this number may be there; the next attempt takes the next number.
                drop(std::fs::remove_file(&path));
                self.generation += 1;
                Err(error)
            }
        }
    }

    /// The current file is never written again; what it holds can be sealed.
    fn roll(&mut self) {
        if self.file.take().is_some() {
            self.abandon();
        }
    }

    fn abandon(&mut self) {
        self.shared.publish_full(self.generation);
        self.generation += 1;
    }
}
