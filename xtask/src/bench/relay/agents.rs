//! Many agents in one thread: each with an address of its own, and connections that come and go.

use std::{
    cell::RefCell,
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    rc::Rc,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, anyhow};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    runtime,
    sync::watch,
    task::LocalSet,
    time::{self, Instant},
};

/// A collector runs so often, and posts three times.
const COLLECTOR: Duration = Duration::from_secs(15);
/// What counts for it is posted so often.
const STATSD: Duration = Duration::from_secs(10);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// An agent that keeps its connection opens another one after so many posts.
const KEPT_FOR: u32 = 100;

/// What is posted: the path, and between which lengths a body is.
struct Kind {
    path: &'static str,
    least: usize,
    most: usize,
}

/// As an agent of the fifth generation was seen to post (its default checks, compressed).
const INTAKE: Kind = Kind { path: "/intake/", least: 4_000, most: 7_000 };
const SERIES: Kind = Kind { path: "/api/v1/series/", least: 22, most: 22 };
const CHECKS: Kind = Kind { path: "/api/v1/check_run/", least: 104, most: 104 };
const STATS: Kind = Kind { path: "/api/v1/series/", least: 380, most: 380 };

/// What the agents saw together.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Posts that were answered with a 2xx.
    pub(super) accepted: u64,
    /// Posts that were answered otherwise, or not at all.
    pub(super) failed: u64,
    /// Bytes of bodies that were accepted, and of whole requests.
    pub(super) body_bytes: u64,
    pub(super) request_bytes: u64,
    pub(super) connections: u64,
    /// How long each answer took, in µs.
    pub(super) took: Vec<u32>,
}

/// Which agents, and what they do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Who {
    /// The address of the first one ends with this number.
    pub(super) first: u32,
    pub(super) count: u32,
    /// What marks their posts where they arrive.
    pub(super) mark: char,
    /// So many posts of each, one right behind the other; without it, at the pace of agents until the end.
    pub(super) at_once: Option<u32>,
}

/// Agents at work.
pub(super) struct Agents {
    stop: Arc<watch::Sender<bool>>,
    thread: JoinHandle<io::Result<Seen>>,
}

impl Agents {
    /// Begins.
    pub(super) fn start(relay: SocketAddr, who: Who) -> Result<Self> {
        let stop = Arc::new(watch::Sender::new(false));
        let own = stop.clone();
        let work = move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let local = LocalSet::new();
            let seen = Rc::new(RefCell::new(Seen::default()));
            for number in 0..who.count {
                let (seen, mut stop) = (seen.clone(), own.subscribe());
                local.spawn_local(async move {
                    let mut agent = Agent::new(relay, who, number, seen);
                    tokio::select! {
                        () = agent.live() => {}
                        _ = stop.wait_for(|stop| *stop) => {}
                    }
                });
            }
            runtime.block_on(local);
            Ok(seen.take())
        };
        let thread = thread::Builder::new().name("agents".to_owned()).spawn(work).context("start agents")?;
        Ok(Self { stop, thread })
    }

    /// Whether they are done with what they were to post at once.
    pub(super) fn are_done(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends them, and tells what they saw.
    pub(super) fn stop(self) -> Result<Seen> {
        self.stop.send_replace(true);
        let seen = self.thread.join().map_err(|_| anyhow!("the agents panicked"))?;
        seen.context("run the agents")
    }
}

struct Agent {
    relay: SocketAddr,
    own: Ipv4Addr,
    who: Who,
    number: u32,
    posts: u32,
    connection: Option<TcpStream>,
    seen: Rc<RefCell<Seen>>,
}

impl Agent {
    fn new(relay: SocketAddr, who: Who, number: u32, seen: Rc<RefCell<Seen>>) -> Self {
        let [_, b, c, d] = (who.first + number).to_be_bytes();
        let own = Ipv4Addr::new(127, b + 1, c, d);
        Self { relay, own, who, number, posts: 0, connection: None, seen }
    }

    async fn live(&mut self) {
        if let Some(count) = self.who.at_once {
            for post in 0..count {
                // Of every nine posts, two are of the largest kind: as in half a minute of an agent.
                self.post(
                    [INTAKE, SERIES, CHECKS, STATS, STATS, INTAKE, SERIES, CHECKS, STATS]
                        .get(post as usize % 9)
                        .unwrap_or(&STATS),
                )
                .await;
            }
            return;
        }
        // They did not start together.
        let share = |whole: Duration| whole.mul_f64(f64::from(self.number * 7919 % 10_000) / 10_000.0);
        let begun = Instant::now();
        let mut collector = begun + share(COLLECTOR);
        let mut statsd = begun + share(STATSD);
        loop {
            time::sleep_until(collector.min(statsd)).await;
            if collector <= statsd {
                collector += COLLECTOR;
                for kind in [INTAKE, SERIES, CHECKS] {
                    self.post(&kind).await;
                }
            } else {
                statsd += STATSD;
                self.post(&STATS).await;
            }
            // Half of them are of the kind that keeps no connection.
            if self.number.is_multiple_of(2) || self.posts.is_multiple_of(KEPT_FOR) {
                self.connection = None;
            }
        }
    }

    async fn post(&mut self, kind: &Kind) {
        self.posts += 1;
        let spread =
            (self.number as usize * 7919 + self.posts as usize * 104_729) % (kind.most - kind.least + 1);
        let length = kind.least + spread;
        let request = self.request(kind, length);
        let begun = Instant::now();
        let answered = time::timeout(PATIENCE, self.exchange(&request)).await;
        let is_good = matches!(answered, Ok(Ok(true)));
        let took = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
        let mut seen = self.seen.borrow_mut();
        if is_good {
            seen.accepted += 1;
            seen.body_bytes += length as u64;
            seen.request_bytes += request.len() as u64;
            seen.took.push(took);
        } else {
            seen.failed += 1;
            self.connection = None;
        }
    }

    fn request(&self, kind: &Kind, length: usize) -> Vec<u8> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let mark = self.who.mark;
        let mut request = format!(
            "POST {}?api_key=0123456789abcdef0123456789abcdef HTTP/1.1\r\nHost: relay:17123\r\n\
             User-Agent: Datadog Agent/5.32.9\r\nContent-Type: application/json\r\nContent-Encoding: deflate\r\n\
             Content-MD5: 0123456789abcdef0123456789abcdef\r\nAccept: text/html, */*\r\n\
             DD-Collector-Version: 5.32.9\r\nX-Sent: {mark}{now}\r\nContent-Length: {length}\r\n\r\n",
            kind.path
        )
        .into_bytes();
        request.resize(request.len() + length, b'x');
        request
    }

    /// Whether the post was accepted.
    async fn exchange(&mut self, request: &[u8]) -> io::Result<bool> {
        if self.connection.is_none() {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::V4(SocketAddrV4::new(self.own, 0)))?;
            let stream = socket.connect(self.relay).await?;
            stream.set_nodelay(true)?;
            self.connection = Some(stream);
            self.seen.borrow_mut().connections += 1;
        }
        let Some(stream) = &mut self.connection else { return Ok(false) };
        stream.write_all(request).await?;
        let mut answer = Vec::with_capacity(1024);
        loop {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(is_good) = read(&answer) {
                return Ok(is_good);
            }
        }
    }
}

/// Whether a whole answer is a 2xx; `None` until it is whole.
fn read(answer: &[u8]) -> Option<bool> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = std::str::from_utf8(answer.get(..head)?).ok()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let is_whole = answer.len() >= head + 4 + length.unwrap_or(0);
    is_whole.then(|| text.split(' ').nth(1).is_some_and(|status| status.starts_with('2')))
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn an_answer_counts_once_it_is_whole() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc";
        assert_eq!((0..answer.len()).find(|end| read(&answer[..*end]).is_some()), None);
        assert_eq!(read(answer), Some(true));
        assert_eq!(read(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), Some(false));
    }
}
