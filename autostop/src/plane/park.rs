//! A TCP client that waits: what it sends is kept up to a limit, and it is let go as soon as the target
//! is ready.

use std::{cell::RefCell, future, io, time::Duration};

use common::drain::Drain;
use tokio::{
    io::Interest,
    net::TcpStream,
    select,
    time::{self, Instant},
};

use super::{
    gate::{Gate, Standing, Visit},
    plan::{Port, Preset, Target},
    probe, tcp,
};
use crate::hold::{Notice, ssh};

/// How often an SSH client hears that it has to wait.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// How much is read at once.
const READ: usize = 16 << 10;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// How waiting ended.
pub(super) enum Outcome {
    /// The target may be reached for.
    Through,
    /// The client has left.
    Left,
    /// The stop was insisted on.
    Cut,
    /// It waited long enough, or it would be in vain.
    Refused(Notice),
    /// The target takes nobody.
    Closed,
}

/// What is said of a target as it stands.
pub(super) fn notice(target: &Target) -> Notice {
    notice_of(&target.name, &target.gate)
}

fn notice_of(name: &str, gate: &Gate) -> Notice {
    let state = gate.state();
    let failed = state.phase == super::gate::Phase::Failed;
    let failure = failed.then(|| if state.error.is_empty() { "it failed".to_owned() } else { state.error });
    Notice { name: name.to_owned(), failure, left: gate.left() }
}

/// Waits with a client until the target is ready, or it is of no use any more.
pub(super) async fn park(
    client: &TcpStream,
    visit: &mut Visit,
    port: &Port,
    held: &mut Vec<u8>,
    arrived: Instant,
    drain: &Drain,
) -> Outcome {
    let target = &port.target;
    let may_wake = target.may_wake(visit.visitor().peer.ip());
    let deadline = target.hold.patience.map(|patience| arrived + patience);
    let mut changes = visit.gate().changes();
    let mut ended = false;
    let mut wants = !held.is_empty();
    let mut line_at = arrived + LINE_EVERY;
    let mut unsaid = Vec::new();
    loop {
        if wants && may_wake {
            visit.want();
        }
        match visit.look() {
            Standing::Through => return say_all(client, &mut unsaid).await,
            Standing::Failed => return Outcome::Refused(notice(target)),
            Standing::Closed => return Outcome::Closed,
            Standing::Wait => probe::begin(target, port.target_port, port.preset, drain),
        }
        let speaks = port.preset == Preset::Ssh && wants && may_wake;
        select! {
            // A sender lives in the gate, so this cannot fail.
            _ = changes.changed() => {}
            heard = hear(client, visit, held, target.hold.bytes, ended) => match heard {
                Ok(0) if held.is_empty() || !port.preset.half_closes() => return Outcome::Left,
                Ok(0) => {
                    ended = true;
                    tcp::doubt(client);
                }
                Ok(_) => wants = true,
                Err(_) => return Outcome::Left,
            },
            () = time::sleep_until(arrived + target.hold.grace), if !wants => wants = true,
            () = until(deadline) => return Outcome::Refused(notice(target)),
            () = time::sleep_until(line_at), if speaks => {
                line_at += LINE_EVERY;
                if unsaid.is_empty() {
                    unsaid = ssh::line(&notice(target));
                }
                if say(client, &mut unsaid).is_err() {
                    return Outcome::Left;
                }
            }
            () = drain.insisted() => return Outcome::Cut,
        }
    }
}

/// Returns at this time, or never.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => time::sleep_until(time).await,
        None => future::pending().await,
    }
}

/// Reads what the client says, as far as all who wait may say so much; the rest stays with it. 0: it has
/// ended its half. After that, and at the limit, only a reset is noticed.
async fn hear(
    client: &TcpStream,
    visit: &mut Visit,
    held: &mut Vec<u8>,
    limit: usize,
    ended: bool,
) -> io::Result<usize> {
    loop {
        if !ended {
            client.readable().await?;
        }
        // Taken here and not before: while it waits, it takes no room.
        let room = if ended { 0 } else { visit.make_room(READ, limit) };
        if room == 0 {
            client.ready(Interest::ERROR).await?;
            return Err(client.take_error()?.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()));
        }
        let read = BUFFER.with_borrow_mut(|buffer| {
            let buffer = buffer.get_mut(..room).unwrap_or_default();
            let read = client.try_read(buffer)?;
            held.reserve_exact(read);
            held.extend_from_slice(buffer.get(..read).unwrap_or_default());
            Ok(read)
        });
        visit.give_room(room - read.as_ref().copied().unwrap_or_default());
        match read {
            Err(error) if io::Error::kind(&error) == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

/// Says what the client takes of this now.
fn say(client: &TcpStream, unsaid: &mut Vec<u8>) -> io::Result<()> {
    match client.try_write(unsaid) {
        Ok(said) => drop(unsaid.drain(..said)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// A line that was begun has to end before the target speaks.
async fn say_all(client: &TcpStream, unsaid: &mut Vec<u8>) -> Outcome {
    while !unsaid.is_empty() {
        if client.writable().await.is_err() || say(client, unsaid).is_err() {
            return Outcome::Left;
        }
    }
    Outcome::Through
}
