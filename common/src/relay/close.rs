//! How a connection is ended when its other side did not end in good order.

use std::time::Duration;

use socket2::SockRef;
use tokio::{net::TcpStream, time};

/// How long the last bytes may take to be taken by a client whose server has gone.
const DELIVERY: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Ends the connection with a reset.
pub(super) fn reset(stream: TcpStream) {
    // Without the option the close is an ordinary one, which is the next best.
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).ok();
}

/// Ends the connection with a reset once the peer has what was written to it: a reset throws away
/// what is still on its way.
pub(super) async fn reset_after_delivery(stream: TcpStream) {
    let deadline = time::Instant::now() + DELIVERY;
    while undelivered(&stream) > 0 && time::Instant::now() < deadline {
        time::sleep(LOOK_AGAIN).await;
    }
    reset(stream);
}

/// Bytes written to this socket that its peer has not acknowledged (`SIOCOUTQ`, tcp(7)).
fn undelivered(stream: &TcpStream) -> usize {
    unsent::bytes(stream)
}

#[expect(unsafe_code, reason = "no crate of the workspace has this ioctl")]
mod unsent {
    use std::os::fd::AsRawFd as _;

    use nix::libc;
    use tokio::net::TcpStream;

    nix::ioctl_read_bad!(outq, libc::TIOCOUTQ, libc::c_int);

    pub(super) fn bytes(stream: &TcpStream) -> usize {
        let mut count = 0;
        // SAFETY: the descriptor is open for as long as the stream is borrowed, and TIOCOUTQ writes one c_int.
        let told = unsafe { outq(stream.as_raw_fd(), &raw mut count) };
        told.ok().and_then(|_| usize::try_from(count).ok()).unwrap_or(0)
    }
}
