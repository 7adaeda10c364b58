//! One life of the child process: started, greeted, asked, ended.

use std::{collections::HashMap, process::Stdio, sync::atomic::Ordering, time::Duration};

use common::drain::Drain;
use tokio::{
    io::{AsyncWriteExt as _, BufReader},
    process::{ChildStderr, ChildStdin, ChildStdout, Command},
    sync::{mpsc, oneshot},
    time::{self, Instant},
};

use super::{
    Call, Keeper, MOST_WAITING, Op, Reply,
    lines::{Line, Lines},
    wire,
};
use crate::provider::{Error, Fault, bucket::Bucket, process::Group, text};

/// How long it may take to answer the greeting.
const GREETING: Duration = Duration::from_secs(10);
/// How long it may take to end after its input has.
const FAREWELL: Duration = Duration::from_secs(2);
/// After so many calls without an answer, and not a word in between, it counts as stuck.
const MOST_UNANSWERED: u32 = 3;
/// How much of its stderr goes into the log: so many lines a minute, so many at once.
const LOG_LINES: (u32, u32) = (120, 60);
const MOST_LOG_LINE_BYTES: usize = 4 << 10;

/// Why a life ended.
pub(super) enum End {
    /// Nobody needs it any more.
    Stopped,
    /// By itself, or because it did not do what it should.
    Broken(String),
}

/// A child that was greeted.
pub(super) struct Session<'a> {
    keeper: &'a Keeper,
    group: Group,
    input: mpsc::Sender<String>,
    output: Lines<BufReader<ChildStdout>>,
    asked: HashMap<u64, Asked>,
    next_id: u64,
    answers: u64,
    unanswered: u32,
    garbage: u64,
    late: u64,
}

struct Asked {
    op: Op,
    answer: oneshot::Sender<Result<Reply, Error>>,
}

impl<'a> Session<'a> {
    /// Starts the child and greets it.
    pub(super) async fn open(keeper: &'a Keeper, calls: &mut mpsc::Receiver<Call>) -> Result<Self, End> {
        let broken = |why: String| End::Broken(text::clean(&why));
        let Some((program, arguments)) = keeper.options.command.split_first() else {
            return Err(broken("no command is configured".to_owned()));
        };
        let mut command = Command::new(program);
        command.args(arguments).envs(&keeper.options.env).stdin(Stdio::piped());
        let mut group =
            Group::spawn(&mut command).map_err(|error| broken(format!("run {program}: {error}")))?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (group.0.stdin.take(), group.0.stdout.take(), group.0.stderr.take())
        else {
            return Err(broken("it has no input or no output".to_owned()));
        };
        let (input, lines) = mpsc::channel(MOST_WAITING);
        keeper.drain.spawn(write(stdin, lines));
        keeper.drain.spawn(log(stderr, keeper.name.clone(), keeper.drain.clone()));
        let output = Lines::new(BufReader::new(stdout), wire::MOST_LINE_BYTES);
        let mut session = Self {
            keeper,
            group,
            input,
            output,
            asked: HashMap::new(),
            next_id: 1,
            answers: 0,
            unanswered: 0,
            garbage: 0,
            late: 0,
        };
        let greeted = tokio::select! {
            greeted = time::timeout(GREETING, session.greet()) => greeted,
            // Calls wait meanwhile; without anybody to make one there is nothing to wait for.
            () = keeper.drain.started(), if calls.is_empty() => return Err(End::Stopped),
        };
        match greeted {
            Ok(Ok(most_ids)) => {
                keeper.most_ids.store(most_ids, Ordering::Relaxed);
                Ok(session)
            }
            Ok(Err(why)) => Err(broken(why)),
            Err(_) => Err(broken("it did not answer the greeting".to_owned())),
        }
    }

    async fn greet(&mut self) -> Result<usize, String> {
        let hello = wire::hello(&self.keeper.name, &self.keeper.options.options)
            .map_err(|error| format!("its options cannot be told: {error}"))?;
        self.input.send(hello).await.map_err(|_| "it closed its input".to_owned())?;
        loop {
            let line = self.output.next().await.map_err(|error| format!("read its output: {error}"))?;
            let line = line.ok_or_else(|| "it ended before it answered the greeting".to_owned())?;
            match self.understand(line) {
                Some(answer) if answer.id == 0 => return answer.welcome(),
                _ => {}
            }
        }
    }

    /// Carries calls to the child and answers back, until one of the two ends.
    pub(super) async fn serve(&mut self, calls: &mut mpsc::Receiver<Call>) -> End {
        loop {
            tokio::select! {
                line = self.output.next() => match line {
                    Ok(Some(line)) => self.hear(line),
                    Ok(None) => return End::Broken("it ended".to_owned()),
                    Err(error) => return End::Broken(text::clean(&format!("read its output: {error}"))),
                },
                call = calls.recv() => match call {
                    Some(call) => self.ask(call),
                    None => return End::Stopped,
                },
                () = self.keeper.drain.started(), if self.asked.is_empty() && calls.is_empty() => {
                    return End::Stopped;
                }
            }
            if self.unanswered >= MOST_UNANSWERED {
                return End::Broken("it is stuck: calls are not answered".to_owned());
            }
        }
    }

    fn ask(&mut self, call: Call) {
        let before = self.asked.len();
        self.asked.retain(|_, asked| !asked.answer.is_closed());
        self.unanswered += u32::try_from(before - self.asked.len()).unwrap_or(u32::MAX);
        let left = call.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || call.answer.is_closed() {
            return;
        }
        let id = self.next_id;
        self.next_id += 1;
        let refused = match wire::request(id, call.op, &call.target, left) {
            Err(error) => Fault::Denied.said(format!("the call cannot be told: {error}")),
            Ok(line) => match self.input.try_send(line) {
                Ok(()) => {
                    self.asked.insert(id, Asked { op: call.op, answer: call.answer });
                    return;
                }
                Err(_) => Fault::Unreachable.said("the plug-in does not read its input"),
            },
        };
        // Who went away does not hear it.
        call.answer.send(Err(refused)).ok();
    }

    fn hear(&mut self, line: Line) {
        let Some(answer) = self.understand(line) else { return };
        self.unanswered = 0;
        let Some(asked) = self.asked.remove(&answer.id) else {
            self.count_late();
            return;
        };
        self.answers += 1;
        if asked.answer.send(answer.outcome(asked.op)).is_err() {
            self.count_late();
        }
    }

    fn count_late(&mut self) {
        self.late += 1;
        self.keeper.dropped_lines.fetch_add(1, Ordering::Relaxed);
    }

    fn understand(&mut self, line: Line) -> Option<wire::Answer> {
        let (line, answer) = match line {
            Line::Whole(line) => {
                let answer = wire::answer(&line);
                (line, answer)
            }
            Line::Cut(line) => (line, None),
        };
        if answer.is_none() && !line.trim().is_empty() {
            self.garbage += 1;
            self.keeper.dropped_lines.fetch_add(1, Ordering::Relaxed);
            if self.garbage == 1 {
                // An answer that was cut may have a secret in its beginning.
                let line =
                    if line.contains("\"secrets\"") { "(secrets)".to_owned() } else { text::clean(&line) };
                tracing::warn!(provider = self.keeper.name, line, "plug-in printed what is no answer");
            }
        }
        answer
    }

    /// Whether it answered at all.
    pub(super) fn was_useful(&self) -> bool {
        self.answers > 0
    }

    /// Ends the child: in good order when nobody needs it any more, at once when it is broken.
    pub(super) async fn close(self, end: &End) {
        let Self { keeper, mut group, input, asked, answers, garbage, late, .. } = self;
        for (_, asked) in asked {
            asked.answer.send(Err(Fault::Interrupted.said("the plug-in ended"))).ok();
        }
        if garbage + late > 0 {
            tracing::warn!(
                provider = keeper.name,
                answers,
                garbage,
                late,
                "plug-in was not always understood"
            );
        }
        // Its input ends, which is how it hears of it.
        drop(input);
        if matches!(end, End::Stopped) {
            time::timeout(FAREWELL, group.0.wait()).await.ok();
        }
    }
}

async fn write(mut stdin: ChildStdin, mut lines: mpsc::Receiver<String>) {
    while let Some(line) = lines.recv().await {
        if stdin.write_all(line.as_bytes()).await.is_err() {
            // Its output tells of its end.
            return;
        }
    }
}

/// What the child says on stderr goes into the log, within bounds.
async fn log(stderr: ChildStderr, name: String, drain: Drain) {
    let mut lines = Lines::new(BufReader::new(stderr), MOST_LOG_LINE_BYTES);
    let mut budget = Bucket::new(LOG_LINES.0, LOG_LINES.1);
    let mut dropped = 0_u64;
    let farewell = async {
        drain.started().await;
        time::sleep(FAREWELL).await;
    };
    let mut farewell = std::pin::pin!(farewell);
    loop {
        let line = tokio::select! {
            line = lines.next() => line,
            // Something that it left behind may hold it open.
            () = &mut farewell => return,
        };
        let Ok(Some(Line::Whole(line) | Line::Cut(line))) = line else { break };
        let now = Instant::now();
        if budget.take(now, now + Duration::from_nanos(1)).is_some() {
            tracing::info!(provider = name, line = text::clean(&line), dropped, "plug-in");
            dropped = 0;
        } else {
            dropped += 1;
        }
    }
    if dropped > 0 {
        tracing::info!(provider = name, dropped, "plug-in said more than is logged");
    }
}
