//! Lines of bounded length from somebody who may send anything.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

/// Reads lines; cancelled, it loses nothing.
pub(super) struct Lines<R> {
    from: R,
    most_bytes: usize,
    line: Vec<u8>,
    /// The line was too long, and the rest of it is thrown away.
    too_long: bool,
}

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// As it came, mended where it was no UTF-8.
    Whole(String),
    /// The beginning of one that was too long.
    Cut(String),
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// Of at most this many bytes.
    pub(super) fn new(from: R, most_bytes: usize) -> Self {
        Self { from, most_bytes, line: Vec::new(), too_long: false }
    }

    /// The next line; `None` at the end. What comes after the last line break counts as a line.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let buffer = self.from.fill_buf().await?;
            if buffer.is_empty() {
                let nothing = self.line.is_empty() && !self.too_long;
                return Ok(if nothing { None } else { Some(self.take()) });
            }
            let end = memchr::memchr(b'\n', buffer);
            let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
            let room = self.most_bytes - self.line.len();
            self.too_long |= part.len() > room;
            self.line.extend_from_slice(part.get(..part.len().min(room)).unwrap_or_default());
            let used = part.len() + usize::from(end.is_some());
            self.from.consume(used);
            if end.is_some() {
                return Ok(Some(self.take()));
            }
        }
    }

    fn take(&mut self) -> Line {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        if std::mem::take(&mut self.too_long) { Line::Cut(line) } else { Line::Whole(line) }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;

    use super::*;

    #[tokio::test]
    async fn lines_are_whole_or_cut_however_they_come() {
        let told = b"one\n\ntoo long by far\nno end \xff";
        for capacity in 1..told.len() {
            let mut lines = Lines::new(BufReader::with_capacity(capacity, &told[..]), 8);
            let mut read = Vec::new();
            while let Some(line) = lines.next().await.unwrap() {
                read.push(line);
            }
            let whole = |line: &str| Line::Whole(line.to_owned());
            let cut = Line::Cut("too long".to_owned());
            assert_eq!(read, [whole("one"), whole(""), cut, whole("no end \u{fffd}")]);
        }
    }
}
