//! A proxy before Amazon's services that is slow and rude: it throttles, fails, cuts, keeps silent and lags behind.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, Mutex},
};

use crate::peer;

/// How a call is treated.
#[derive(Clone, Debug)]
pub enum Manner {
    /// Refused with this code; nothing is done.
    Refuse(u16, &'static str),
    /// The connection is reset before anything is done.
    Reset,
    /// It is done, and the answer gets lost.
    Lose,
    /// It is never answered, until the caller leaves.
    Silence,
    /// It is done, and in its answer each of these texts is replaced.
    Lag(&'static str, &'static str),
}

/// See the module.
pub struct Rude {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// What awaits the next calls of each operation.
    manners: BTreeMap<String, Vec<Manner>>,
    /// How often each operation was asked for, and how often that got through.
    asked: BTreeMap<String, usize>,
    done: BTreeMap<String, usize>,
}

impl Rude {
    /// Stands before `behind`; at first it only counts.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn before(behind: SocketAddr) -> Self {
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let address = peer::serve(move |stream| {
            // Whoever is cut off has left, which is what is tested.
            serve(stream, behind, &shared).ok();
        });
        Self { address, state }
    }

    /// The next calls of this operation are treated so, one after the other.
    ///
    /// # Panics
    /// When a thread of it panicked.
    pub fn will(&self, operation: &str, manners: impl IntoIterator<Item = Manner>) {
        let mut state = self.state.lock().expect("no panic while locked");
        state.manners.entry(operation.to_owned()).or_default().extend(manners);
    }

    /// How often an operation was asked for.
    ///
    /// # Panics
    /// When a thread of it panicked.
    pub fn asked(&self, operation: &str) -> usize {
        self.state.lock().expect("no panic while locked").asked.get(operation).copied().unwrap_or_default()
    }

    /// How often that was really done.
    ///
    /// # Panics
    /// When a thread of it panicked.
    pub fn done(&self, operation: &str) -> usize {
        self.state.lock().expect("no panic while locked").done.get(operation).copied().unwrap_or_default()
    }

    /// How many manners still await calls.
    ///
    /// # Panics
    /// When a thread of it panicked.
    pub fn still_rude(&self) -> usize {
        self.state.lock().expect("no panic while locked").manners.values().map(Vec::len).sum()
    }
}

/// One call on a connection of its own.
struct Asked {
    bytes: Vec<u8>,
    operation: String,
    service: String,
}

fn serve(mut stream: TcpStream, behind: SocketAddr, state: &Mutex<State>) -> std::io::Result<()> {
    let Some(asked) = read(&mut stream)? else { return Ok(()) };
    let manner = {
        let mut state = state.lock().expect("no panic while locked");
        *state.asked.entry(asked.operation.clone()).or_default() += 1;
        state
            .manners
            .get_mut(&asked.operation)
            .and_then(|manners| (!manners.is_empty()).then(|| manners.remove(0)))
    };
    let done = || {
        let mut state = state.lock().expect("no panic while locked");
        *state.done.entry(asked.operation.clone()).or_default() += 1;
    };
    match manner {
        Some(Manner::Refuse(status, code)) => {
            stream.write_all(refusal(&asked.service, status, code).as_bytes())
        }
        Some(Manner::Reset) => reset(&stream),
        Some(Manner::Silence) => {
            while stream.read(&mut [0; 64])? > 0 {}
            Ok(())
        }
        Some(Manner::Lose) => {
            forward(behind, &asked.bytes)?;
            done();
            reset(&stream)
        }
        Some(Manner::Lag(from, to)) => {
            let answer = forward(behind, &asked.bytes)?;
            done();
            let text = String::from_utf8_lossy(&answer);
            let (_, body) = text.split_once("\r\n\r\n").unwrap_or_default();
            let body = body.replace(from, to);
            stream.write_all(response(200, "text/xml", &body).as_bytes())
        }
        None => {
            let answer = forward(behind, &asked.bytes)?;
            done();
            stream.write_all(&answer)
        }
    }
}

fn reset(stream: &TcpStream) -> std::io::Result<()> {
    nix::sys::socket::setsockopt(
        stream,
        nix::sys::socket::sockopt::Linger,
        &nix::libc::linger { l_onoff: 1, l_linger: 0 },
    )?;
    stream.shutdown(Shutdown::Read)
}

/// A whole request; `None` when nothing comes.
fn read(stream: &mut TcpStream) -> std::io::Result<Option<Asked>> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(None);
        }
        bytes.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let field = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
        };
        let length = field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0_usize);
        if body.len() < length {
            continue;
        }
        let target = field("x-amz-target").and_then(|told| told.rsplit('.').next().map(str::to_owned));
        let action = body.split('&').find_map(|pair| pair.strip_prefix("Action=")).map(str::to_owned);
        let scope = field("authorization").unwrap_or_default();
        let service = scope.split('/').nth(3).unwrap_or_default().to_owned();
        let operation = target.or(action).unwrap_or_default();
        // One call on each connection, so that an answer ends where it ends.
        let head = head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
        let head = head.collect::<Vec<_>>().join("\r\n");
        let bytes = format!("{head}\r\nConnection: close\r\n\r\n{body}").into_bytes();
        return Ok(Some(Asked { bytes, operation, service }));
    }
}

fn forward(behind: SocketAddr, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(behind)?;
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// An error in the words of each service.
fn refusal(service: &str, status: u16, code: &str) -> String {
    let message = format!("{code}, as it was told");
    match service {
        "ec2" => {
            let body = format!(
                "<?xml version=\"1.0\"?><Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors><RequestID>0</RequestID></Response>"
            );
            response(status, "text/xml", &body)
        }
        "ecs" | "secretsmanager" => {
            let body = serde_json::json!({ "__type": code, "message": message }).to_string();
            response(status, "application/x-amz-json-1.1", &body)
        }
        _ => {
            let body = format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>0</RequestId></ErrorResponse>"
            );
            response(status, "text/xml", &body)
        }
    }
}

fn response(status: u16, media: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} As told\r\nContent-Type: {media}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
