//! The connection of a stream, taken out of the hands of the HTTP server: it keeps no buffers while it is quiet.

use std::{io, os::fd::AsRawFd as _};

use nix::sys::socket::{MsgFlags, send};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::front::Connection;

/// What the kernel keeps of what an SDK does not read.
const SEND_BUFFER_BYTES: usize = 16 << 10;

type ReadTls = ReadHalf<TlsStream<TcpStream>>;
type WriteTls = WriteHalf<TlsStream<TcpStream>>;

pub(super) enum Reading<'a> {
    Plain(&'a TcpStream),
    Tls(&'a mut ReadTls),
}

pub(super) enum Writing<'a> {
    Plain(&'a TcpStream),
    Tls(&'a mut WriteTls),
}

pub(super) enum Wire {
    Plain(TcpStream),
    Tls(Box<(ReadTls, WriteTls)>),
}

impl Wire {
    pub(super) fn new(connection: Connection) -> Self {
        match connection {
            Connection::Plain(stream) => {
                // Without it the kernel keeps more, and that is all.
                socket2::SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES).ok();
                Self::Plain(stream)
            }
            Connection::Tls(stream) => Self::Tls(Box::new(split(*stream))),
        }
    }

    pub(super) fn halves(&mut self) -> (Reading<'_>, Writing<'_>) {
        match self {
            Self::Plain(stream) => (Reading::Plain(stream), Writing::Plain(stream)),
            Self::Tls(halves) => {
                let (reading, writing) = halves.as_mut();
                (Reading::Tls(reading), Writing::Tls(writing))
            }
        }
    }
}

impl Reading<'_> {
    /// Returns when the SDK is gone. What it says meanwhile is let go.
    pub(super) async fn closed(&mut self) {
        let mut scratch = [0; 64];
        loop {
            let read = match self {
                Self::Plain(stream) => match stream.readable().await {
                    Ok(()) => stream.try_read(&mut scratch),
                    Err(error) => Err(error),
                },
                Self::Tls(stream) => stream.read(&mut scratch).await,
            };
            match read {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

impl Writing<'_> {
    /// Writes some of it. Each call ends a packet: an event is never joined to the next, or cut by it.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => loop {
                stream.writable().await?;
                let sent = stream.try_io(tokio::io::Interest::WRITABLE, || {
                    let flags = MsgFlags::MSG_EOR | MsgFlags::MSG_NOSIGNAL;
                    send(stream.as_raw_fd(), bytes, flags).map_err(io::Error::from)
                });
                match sent {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    sent => return sent,
                }
            },
            Self::Tls(stream) => {
                // What is written stays written if this call is given up, so nothing may be waited for after it.
                stream.flush().await?;
                stream.write(bytes).await
            }
        }
    }

    /// Says that nothing follows.
    pub(super) async fn finish(&mut self) {
        match self {
            // Dropping it closes it.
            Self::Plain(_) => {}
            Self::Tls(stream) => drop(stream.shutdown().await),
        }
    }
}
