//! Accepts connections, as many at a time as there is room for, until a stop is asked for.

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::errno::Errno;
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};

use crate::{drain::Drain, quiet::Quiet};

/// How long accepting rests when the system has no descriptor or no memory for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Hands every connection to `take` until the drain starts, with its place in the room, which it holds until that is
/// dropped. Who finds no room waits in the kernel. `take` must not wait: it spawns.
///
/// # Errors
/// When nothing can be accepted from this listener at all.
pub async fn accept(
    listener: TcpListener,
    room: &Arc<Semaphore>,
    drain: &Drain,
    take: impl FnMut(TcpStream, SocketAddr, OwnedSemaphorePermit),
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    accept_from(|| listener.accept(), room, drain, take).await;
    Ok(())
}

async fn accept_from<S, A: Future<Output = io::Result<(S, SocketAddr)>>>(
    mut next: impl FnMut() -> A,
    room: &Arc<Semaphore>,
    drain: &Drain,
    mut take: impl FnMut(S, SocketAddr, OwnedSemaphorePermit),
) {
    let mut started = pin!(drain.started());
    loop {
        let place = tokio::select! {
            biased;
            () = &mut started => return,
            place = Arc::clone(room).acquire_owned() => place,
        };
        // It is closed by nobody.
        let Ok(place) = place else { return };
        let accepted = loop {
            let accepted = tokio::select! {
                biased;
                () = &mut started => return,
                accepted = next() => accepted,
            };
            match accepted {
                Ok(accepted) => break accepted,
                // The client left before it was accepted: that says nothing of the next one.
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    static QUIET: Quiet = Quiet::new(Duration::from_secs(10));
                    if let Some(suppressed) = QUIET.speak(Instant::now()) {
                        tracing::warn!(%error, suppressed, "accept failed");
                    }
                    time::sleep(PAUSE).await;
                }
            }
        };
        let (stream, peer) = accepted;
        take(stream, peer, place);
    }
}

/// Errors that accept(2) has of the connection and not of the listener or the system.
fn is_of_the_client(error: &io::Error) -> bool {
    let own = [
        Errno::ECONNABORTED,
        Errno::ECONNRESET,
        Errno::EINTR,
        Errno::EPROTO,
        Errno::ENETDOWN,
        Errno::ENETUNREACH,
        Errno::EHOSTDOWN,
        Errno::EHOSTUNREACH,
        Errno::ETIMEDOUT,
    ];
    error.raw_os_error().is_some_and(|code| own.contains(&Errno::from_raw(code)))
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::VecDeque, future};

    use super::*;
    use crate::listen;

    const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    #[tokio::test]
    async fn who_finds_no_room_is_accepted_when_another_leaves_and_nobody_after_the_stop() {
        let listener = listen::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let (room, drain) = (Arc::new(Semaphore::new(1)), Drain::default());
        let (sender, mut taken) = tokio::sync::mpsc::unbounded_channel();
        let until = drain.clone();
        drain.spawn_own(async move {
            accept(listener, &room, &until, |stream, peer, place| {
                sender.send((stream, peer, place)).unwrap();
            })
            .await
            .unwrap();
        });
        let first = TcpStream::connect(address).await.unwrap();
        let second = TcpStream::connect(address).await.unwrap();
        let (_stream, peer, place) = taken.recv().await.unwrap();
        assert_eq!(peer, first.local_addr().unwrap());
        assert!(taken.try_recv().is_err(), "there is no room");
        drop(place);
        let (_stream, peer, place) = taken.recv().await.unwrap();
        assert_eq!(peer, second.local_addr().unwrap());
        drain.ask();
        drain.idle().await;
        drop(place);
        assert!(taken.recv().await.is_none(), "it accepts no more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lack_of_descriptors_is_a_pause_and_a_client_that_left_is_not() {
        let errors = [Errno::EMFILE, Errno::ENFILE, Errno::ECONNABORTED, Errno::ENOMEM];
        let coming: VecDeque<_> = errors.map(|errno| Err(io::Error::from(errno))).into();
        let coming = RefCell::new(coming);
        coming.borrow_mut().push_back(Ok(((), PEER)));
        let (room, drain) = (Arc::new(Semaphore::new(5)), Drain::default());
        let (begun, mut came) = (time::Instant::now(), None);
        accept_from(
            || future::ready(coming.borrow_mut().pop_front().expect("it has stopped by then")),
            &room,
            &drain,
            |(), peer, _place| {
                came = Some((peer, begun.elapsed()));
                drain.ask();
            },
        )
        .await;
        // In virtual time, of a clock with milliseconds.
        let (peer, took) = came.expect("it came");
        assert_eq!((peer, took.as_millis() / 100), (PEER, 3));
    }
}
