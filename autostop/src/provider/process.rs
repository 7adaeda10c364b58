//! Runs a command that may hang, flood or fork, and ends it with everything that it started.

use std::{io, process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    time::{self, Instant},
};

use super::{Error, Fault};

/// How much of each stream is kept; the rest is read and thrown away.
const MOST_OUTPUT_BYTES: usize = 64 << 10;
/// How long the output may stay open after the command has ended, in the hands of something it left behind.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Secrets of ours that are nobody else's business.
const SECRETS: [&str; 1] = ["AUTH_TOKEN"];

/// A command that ended.
#[derive(Debug)]
pub(super) struct Output {
    /// Its exit code; `None` when a signal ended it.
    pub(super) code: Option<i32>,
    /// What it printed, up to a bound.
    pub(super) stdout: String,
    /// What it complained about, up to a bound.
    pub(super) stderr: String,
}

/// A child with a process group of its own. Dropped while it runs, the whole group is killed.
pub(super) struct Group(pub(super) Child);

impl Group {
    /// Starts it, in a process group of its own, with its stdin as told.
    pub(super) fn spawn(command: &mut Command) -> io::Result<Self> {
        for secret in SECRETS {
            command.env_remove(secret);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        command.spawn().map(Self)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It has an id for as long as nobody has waited for its end, so this is no other group.
        if let Some(leader) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            killpg(Pid::from_raw(leader), Signal::SIGKILL).ok();
        }
    }
}

/// Runs this command to its end, without a shell. At the deadline, or when the future is dropped, it is killed
/// with everything that is still in its process group.
///
/// # Errors
/// [`Fault::Unreachable`] when it cannot be started, [`Fault::Timeout`] at the deadline.
pub(super) async fn run(argv: &[String], deadline: Instant) -> Result<Output, Error> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(Fault::Unsupported.said("no command is configured for this"));
    };
    let mut group = Group::spawn(Command::new(program).args(arguments).stdin(Stdio::null()))
        .map_err(|error| Fault::Unreachable.said(format!("run {program}: {error}")))?;
    let mut stdout = Bounded::new(group.0.stdout.take());
    let mut stderr = Bounded::new(group.0.stderr.take());
    let ended = async {
        let mut both = Box::pin(async { tokio::join!(stdout.fill(), stderr.fill()) });
        let ended = tokio::select! {
            ended = group.0.wait() => {
                time::timeout(LAST_WORDS, &mut both).await.ok();
                ended
            }
            // It may close its output and go on.
            _ = &mut both => group.0.wait().await,
        };
        drop(both);
        ended
    };
    match time::timeout_at(deadline, ended).await {
        Ok(Ok(status)) => {
            Ok(Output { code: status.code(), stdout: stdout.into_text(), stderr: stderr.into_text() })
        }
        Ok(Err(error)) => Err(Fault::Interrupted.said(format!("wait for {program}: {error}"))),
        Err(_) => Err(Fault::Timeout.said(format!("{program} was killed"))),
    }
}

struct Bounded<R> {
    from: Option<R>,
    kept: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Bounded<R> {
    fn new(from: Option<R>) -> Self {
        Self { from, kept: Vec::new() }
    }

    async fn fill(&mut self) {
        let Some(from) = &mut self.from else { return };
        let mut buffer = vec![0; 8 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let room = MOST_OUTPUT_BYTES - self.kept.len();
            self.kept.extend_from_slice(buffer.get(..read.min(room)).unwrap_or_default());
        }
    }

    fn into_text(self) -> String {
        String::from_utf8_lossy(&self.kept).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, timeout: Duration) -> Result<Output, Error> {
        let argv = ["sh", "-c", script].map(str::to_owned);
        run(&argv, Instant::now() + timeout).await
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn its_end_and_both_of_its_outputs_are_told() {
        let output = shell("echo out; echo err >&2; exit 3", LONG).await.unwrap();
        assert_eq!((output.code, &*output.stdout, &*output.stderr), (Some(3), "out\n", "err\n"));
        assert_eq!(shell("kill -9 $$", LONG).await.unwrap().code, None);
    }

    #[tokio::test]
    async fn a_flood_is_read_and_not_kept() {
        let output = shell("head -c 5000000 /dev/zero; echo done >&2", LONG).await.unwrap();
        assert_eq!((output.stdout.len(), &*output.stderr), (MOST_OUTPUT_BYTES, "done\n"));
    }

    #[tokio::test]
    async fn what_it_leaves_running_holds_nothing_up_and_is_not_killed() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let script = format!("(echo alive >{}) & echo started", fifo.display());
        assert_eq!(shell(&script, LONG).await.unwrap().stdout, "started\n");
        let told = tokio::task::spawn_blocking(|| std::fs::read_to_string(fifo)).await.unwrap();
        assert_eq!(told.unwrap(), "alive\n");
    }

    #[tokio::test]
    async fn at_the_deadline_it_is_ended() {
        let error = shell("sleep 600", Duration::from_millis(100)).await.unwrap_err();
        assert_eq!(error.fault, Fault::Timeout);
    }

    #[tokio::test]
    async fn when_nobody_waits_any_more_the_whole_group_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let [fifo, open] = ["fifo", "open"].map(|name| folder.path().join(name));
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let script = format!("exec 3>{}; touch {}; (sleep 600) & sleep 600", fifo.display(), open.display());
        let reader = tokio::task::spawn_blocking(|| std::fs::read(fifo));
        let opened = async {
            while !open.exists() {
                // Sleeps: between two looks.
                time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            ended = shell(&script, LONG) => panic!("{ended:?}"),
            () = opened => {}
        }
        // The fifo reads as ended once every process that could write to it is gone.
        assert_eq!(reader.await.unwrap().unwrap(), b"");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_was_never_started() {
        let error = run(&["/no/such/program".to_owned()], Instant::now() + LONG).await.unwrap_err();
        assert_eq!(error.fault, Fault::Unreachable);
    }
}
