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
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use common::exchange::{Connection, Exchange};
use common::wire;
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::columns::{Columns, Origin};
use super::disk::{self, Disk, LogFile};
use super::generation::{Full, Generation};
use super::identity::Run;
use super::ledger::{Ledger, Registration};
use super::log::{self, Kind};
use super::shared::Shared;
use super::{Health, Refused};

/// What the writer is asked to make durable.
pub(super) enum Order {
    Batch(wire::CaptureRequest, Vec<(u64, Connection, Exchange)>),
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
    pub(super) disk: Box<dyn Disk>,
    pub(super) folder: PathBuf,
    pub(super) jobs: Receiver<Job>,
    pub(super) staged: Ledger,
    pub(super) open: Generation,
    pub(super) columns: Columns,
    file: Option<OpenFile>,
    buffer: Vec<u8>,
}

type Answer = (oneshot::Sender<Result<u64, Refused>>, Result<u64, Refused>, Option<OwnedSemaphorePermit>);

/// What one group is going to change.
#[derive(Default)]
struct Group {
    records: Vec<(Kind, u64, Vec<u8>)>,
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
        disk: Box<dyn Disk>,
        folder: PathBuf,
        jobs: Receiver<Job>,
        staged: Ledger,
        next_generation: u64,
    ) -> Self {
        let open = Generation { number: next_generation, ..Generation::default() };
        let columns = Columns::default();
        Self { shared, disk, folder, jobs, staged, open, columns, file: None, buffer: Vec::new() }
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
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(job) = next {
            self.stage(job, &mut group);
            bytes += group.records.last().map_or(0, |(_, _, payload)| payload.len());
            next = if bytes < GROUP_BYTES { self.jobs.try_recv().ok() } else { None };
        }
        let closing = group.closing;
        self.settle(group);
        closing
    }

    fn stage(&mut self, job: Job, group: &mut Group) {
        let Job { order, at_ms, reply, room } = job;
        let judged = match order {
            Order::Batch(request, exchanges) => self.stage_batch(&request, &exchanges, at_ms, group),
            Order::Register(told) => {
                let through = self.staged.register(&told, at_ms);
                group.records.push((Kind::Register, at_ms, told.encode_to_vec()));
                group.touched.push(told.proxy_id);
                Ok(through)
            }
            Order::CheckIn(told) => match self.staged.check_in(&told, at_ms) {
                Ok(news) => {
                    if news {
                        group.records.push((Kind::CheckIn, at_ms, told.encode_to_vec()));
                    }
                    group.touched.push(told.proxy_id);
                    Ok(0)
                }
                Err(contradiction) => Err(contradiction.into()),
            },
            Order::Reap(told) => {
                if self.staged.reap(&told.proxy_id, told.epoch) {
                    group.records.push((Kind::Reap, at_ms, told.encode_to_vec()));
                    group.touched.push(told.proxy_id);
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
        request: &wire::CaptureRequest,
        exchanges: &[(u64, Connection, Exchange)],
        at_ms: u64,
        group: &mut Group,
    ) -> Result<u64, Refused> {
        if self.shared.backlog_bytes() > self.shared.options.unsealed_bytes {
            return Err(Refused::Behind);
        }
        let accepted = self.staged.batch(request, false, at_ms)?;
        group.touched.push(request.proxy_id.clone());
        if accepted.known < request.count {
            group.records.push((Kind::Batch, at_ms, request.encode_to_vec()));
            push_rows(
                &mut self.columns,
                &self.shared.options.cluster,
                &self.staged,
                request,
                exchanges,
                accepted.known,
            );
        }
        Ok(accepted.stored_through)
    }

    /// Writes, publishes and answers one group.
    fn settle(&mut self, mut group: Group) {
        let written = if group.records.is_empty() { Ok(()) } else { self.write(&group) };
        let rows = self.columns.finish().map_err(io::Error::other);
        let done = written.and(rows).and_then(|rows| {
            if rows.num_rows() > 0 {
                self.open.push(rows.clone()).map_err(io::Error::other)?;
            }
            Ok(rows)
        });
        group.touched.sort_unstable();
        group.touched.dedup();
        match done {
            Ok(rows) => {
                self.open.log_bytes = self.file.as_ref().map_or(0, |open| open.synced);
                self.shared.publish(&self.open, &self.staged, &group.touched, rows);
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
            Err(error) if disk::is_full(error) => Health::Full,
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
        for (kind, at_ms, payload) in &group.records {
            log::append(&mut self.buffer, open.mark, synced, *kind, *at_ms, payload);
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
        let path = self.folder.join(format!("{:020}.wal", self.open.number));
        let mark = fastrand::u32(1..);
        let made = self.disk.create(&path).and_then(|mut file| {
            file.append(&log::file_header(mark, self.open.number))?;
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
                self.open.number += 1;
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
        let next = Generation { number: self.open.number + 1, ..Generation::default() };
        let generation = std::mem::replace(&mut self.open, next);
        self.shared.publish_full(Full { generation, ledger: self.published_ledger() }, &self.open);
    }

    /// The accounts of all that is acknowledged, without what is staged.
    fn published_ledger(&self) -> Ledger {
        self.shared.state.read().unwrap_or_else(PoisonError::into_inner).ledger.clone()
    }
}

/// Adds what is new of a batch to the columns.
pub(super) fn push_rows(
    columns: &mut Columns,
    cluster: &str,
    ledger: &Ledger,
    request: &wire::CaptureRequest,
    exchanges: &[(u64, Connection, Exchange)],
    known: u32,
) {
    let unknown = Registration::default();
    let registration =
        ledger.epoch(&request.proxy_id, request.epoch).and_then(|epoch| epoch.registration.as_ref());
    let origin = Origin {
        cluster,
        instance: &request.proxy_id,
        epoch: request.epoch,
        registration: registration.unwrap_or(&unknown),
    };
    let run = Run::new(origin.instance, origin.epoch);
    for (sequence, connection, exchange) in exchanges.iter().skip(known as usize) {
        columns.push(&origin, run, *sequence, connection, exchange);
    }
}
