//! Which version of HTTP a client speaks, by its first bytes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    time,
};

/// How a client begins that speaks HTTP/2 (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A version that is told from the start of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// 1.0 or 1.1.
    One,
    /// 2.
    Two,
}

/// A connection with what was read of it already, which is read again together with what follows.
pub(super) struct Begun<S> {
    stream: S,
    said: [u8; PREFACE.len()],
    from: usize,
    to: usize,
}

/// Reads as much as it takes to tell.
///
/// # Errors
/// When the client says nothing, or not enough in time.
pub(super) async fn begin<S: AsyncRead + Unpin>(
    stream: S,
    most: Duration,
) -> io::Result<(Version, Begun<S>)> {
    let mut begun = Begun { stream, said: [0; PREFACE.len()], from: 0, to: 0 };
    let told = time::timeout(most, tell(&mut begun));
    Ok((told.await??, begun))
}

async fn tell<S: AsyncRead + Unpin>(begun: &mut Begun<S>) -> io::Result<Version> {
    loop {
        let room = begun.said.get_mut(begun.to..).unwrap_or_default();
        let read = begun.stream.read(room).await?;
        begun.to += read;
        let said = begun.said.get(..begun.to).unwrap_or_default();
        if said == PREFACE {
            return Ok(Version::Two);
        }
        if said.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if read == 0 || !PREFACE.starts_with(said) {
            return Ok(Version::One);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.from == self.to {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let (from, to) = (self.from, self.to.min(self.from + buffer.remaining()));
        buffer.put_slice(self.said.get(from..to).unwrap_or_default());
        self.from = to;
        if self.from == self.to && buffer.remaining() > 0 {
            // In one go, or who reads makes room for twice as much. What went wrong is told the next time.
            let rest = Pin::new(&mut self.stream).poll_read(context, buffer);
            if let Poll::Ready(Err(error)) = rest {
                tracing::debug!(%error, "the client broke off in its first words");
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// What is told of a client that says this in pieces of this size and then ends, and what is read of it.
    async fn check(said: &[u8], piece: usize) -> io::Result<(Version, Vec<u8>)> {
        let (mut client, server) = duplex(piece);
        let said = said.to_vec();
        let talk = async move {
            for piece in said.chunks(piece) {
                client.write_all(piece).await.unwrap();
            }
        };
        let listen = async {
            let (version, mut begun) = begin(server, PATIENCE).await?;
            let mut heard = Vec::new();
            begun.read_to_end(&mut heard).await?;
            Ok((version, heard))
        };
        tokio::join!(talk, listen).1
    }

    #[tokio::test]
    async fn the_version_is_told_however_it_is_split_and_not_a_byte_is_lost() {
        let two = [PREFACE, &b"\0\0\0\x04\0\0\0\0\0 and on"[..]].concat();
        for piece in 1..40 {
            assert_eq!(check(&two, piece).await.unwrap(), (Version::Two, two.clone()));
            for one in
                [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\nand a body"[..], b"PRI", b"PRI * HTTP/2.1\r\n", b"P"]
            {
                assert_eq!(check(one, piece).await.unwrap(), (Version::One, one.to_vec()), "{piece}");
            }
        }
        assert!(check(b"", 1).await.is_err());
    }

    #[tokio::test]
    async fn what_was_read_and_what_is_there_come_in_one_go() {
        let (mut client, server) = duplex(1000);
        client.write_all(&[b'x'; 200]).await.unwrap();
        let (_, mut begun) = begin(server, PATIENCE).await.unwrap();
        assert_eq!(begun.read(&mut [0; 1000]).await.unwrap(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_says_nothing_is_not_waited_for() {
        let (mut client, server) = duplex(1000);
        assert!(begin(server, PATIENCE).await.is_err());
        let (mut slow, server) = duplex(1000);
        slow.write_all(b"PRI * HT").await.unwrap();
        assert!(begin(server, PATIENCE).await.is_err());
        client.write_all(b"late").await.unwrap_err();
    }
}
