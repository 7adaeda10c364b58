//! A connection that is lent to the HTTP server, and can be taken back.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

/// A connection of an SDK.
pub(crate) enum Connection {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A handle on a connection; once it is taken, nothing can be read and written through the others.
#[derive(Clone)]
pub(super) struct Lent(Arc<Mutex<Option<Connection>>>);

impl Lent {
    pub(super) fn new(connection: Connection) -> Self {
        Self(Arc::new(Mutex::new(Some(connection))))
    }

    /// Takes the connection back, if nobody did.
    pub(super) fn take(&self) -> Option<Connection> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.lock().as_mut() {
            Some(Connection::Plain(stream)) => Pin::new(stream).poll_read(cx, buffer),
            Some(Connection::Tls(stream)) => Pin::new(stream.as_mut()).poll_read(cx, buffer),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Lent {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.lock().as_mut() {
            Some(Connection::Plain(stream)) => Pin::new(stream).poll_write(cx, bytes),
            Some(Connection::Tls(stream)) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.lock().as_mut() {
            Some(Connection::Plain(stream)) => Pin::new(stream).poll_write_vectored(cx, slices),
            Some(Connection::Tls(stream)) => Pin::new(stream.as_mut()).poll_write_vectored(cx, slices),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.lock().as_mut() {
            Some(Connection::Plain(stream)) => Pin::new(stream).poll_flush(cx),
            Some(Connection::Tls(stream)) => Pin::new(stream.as_mut()).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.lock().as_mut() {
            Some(Connection::Plain(stream)) => Pin::new(stream).poll_shutdown(cx),
            Some(Connection::Tls(stream)) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}
