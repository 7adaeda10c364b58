//! Many streams at a time: what each costs, and when the last has heard of a change.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
    runtime,
};

use super::sample;
use crate::{bench::process::rss, child::Child, stop::Stop};

const OPEN: Duration = Duration::from_secs(120);
const TELL: Duration = Duration::from_secs(30);
/// Connections that are opened at a time.
const AT_ONCE: usize = 200;

/// What was seen.
pub(super) struct Seen {
    /// Bytes of the relay for each stream, without what the kernel keeps for its socket.
    pub(super) bytes_each: f64,
    /// When half of the streams, all but one in a hundred, and all had heard of a change.
    pub(super) heard: [Duration; 3],
}

/// Lets us, and those that we start, have so many files open and some more.
pub(super) fn make_room(count: usize) -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).context("ask how many files may be open")?;
    let wanted = most.max(count as u64 + 1000);
    setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted)
        .with_context(|| format!("have {wanted} files open: raise the limit of this shell"))
}

/// Opens so many streams, and changes a flag.
pub(super) fn run(
    relay: &mut Child,
    address: SocketAddr,
    token: &str,
    folder: &Path,
    count: usize,
    stop: &Stop,
) -> Result<Seen> {
    let head = format!(
        "GET /stream HTTP/1.1\r\nHost: relay\r\nAuthorization: Bearer {token}\r\nAPI-Key: {}\r\n\r\n",
        sample::key(0)
    );
    let before = rss(relay.id())?;
    let (open, broken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let heard = Arc::new(Mutex::new(Vec::with_capacity(count)));
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let turns = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    for number in 0..count {
        let (open, broken, heard, turns) =
            (Arc::clone(&open), Arc::clone(&broken), Arc::clone(&heard), Arc::clone(&turns));
        let head = head.clone();
        runtime.spawn(async move {
            if listen(number, address, &head, &open, &heard, &turns).await.is_err() {
                broken.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    stop.wait_for("all streams", OPEN, || {
        relay.check_alive()?;
        ensure!(broken.load(Ordering::Relaxed) == 0, "streams broke");
        Ok(open.load(Ordering::Relaxed) == count)
    })?;
    let after = rss(relay.id())?;
    sample::write(folder, 0, 350, "second")?;
    let told = Instant::now();
    let len = || heard.lock().unwrap_or_else(PoisonError::into_inner).len();
    stop.wait_for("everybody to hear", TELL, || {
        ensure!(broken.load(Ordering::Relaxed) == 0, "streams broke");
        Ok(len() == count)
    })?;
    let mut all: Vec<Duration> = {
        let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.iter().map(|at: &Instant| at.saturating_duration_since(told)).collect()
    };
    all.sort();
    let at = |share: usize| all.get((count * share / 100).min(count - 1)).copied().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "a size of memory")]
    let bytes_each = (after.saturating_sub(before) * 1024) as f64 / count as f64;
    runtime.shutdown_background();
    Ok(Seen { bytes_each, heard: [at(50), at(99), at(100)] })
}

async fn listen(
    number: usize,
    address: SocketAddr,
    head: &str,
    open: &AtomicUsize,
    heard: &Mutex<Vec<Instant>>,
    turns: &tokio::sync::Semaphore,
) -> Result<()> {
    let turn = turns.acquire().await?;
    let socket = TcpSocket::new_v4()?;
    // A few addresses, so that there are ports enough.
    let own = u8::try_from(number % 4)? + 1;
    socket.bind(([127, 0, 0, own], 0).into())?;
    let mut stream = socket.connect(address).await?;
    stream.write_all(head.as_bytes()).await?;
    let mut buffer = [0; 512];
    let mut text = Vec::new();
    while !text.windows(3).any(|three| three == b":\n\n") {
        let read = stream.read(&mut buffer).await?;
        ensure!(read > 0, "the stream ended");
        text.extend_from_slice(buffer.get(..read).unwrap_or_default());
    }
    drop((turn, text));
    open.fetch_add(1, Ordering::Relaxed);
    loop {
        let read = stream.read(&mut buffer).await?;
        ensure!(read > 0, "the stream ended");
        if buffer.get(..read).is_some_and(|told| told.windows(5).any(|five| five == b"data:")) {
            break;
        }
    }
    heard.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
    // It stays open until the others have heard as well.
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
