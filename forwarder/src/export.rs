//! Exchanges on their way out, page by page: never the whole set in memory.

use bytes::Bytes;
use futures::Stream;
use futures::stream::try_unfold;

use crate::query::pairs::{MAX_LIMIT, TIME_BUDGET};
use crate::query::{Cursor, Error, Filter, Query};
use crate::store::row::Row;

pub mod har;
pub mod jsonl;

/// A form that exchanges are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One RRPair on each line.
    JsonLines,
    /// HTTP Archive 1.2; exchanges of other protocols are left out.
    Har,
}

impl Format {
    /// The form of this name: `jsonl` or `har`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "jsonl" => Some(Self::JsonLines),
            "har" => Some(Self::Har),
            _ => None,
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::JsonLines => "application/x-ndjson",
            Self::Har => "application/json",
        }
    }
}

/// Writes exchanges one after the other.
#[derive(Debug)]
pub struct Writer {
    format: Format,
    written: u64,
}

impl Writer {
    /// A writer that has written nothing yet.
    pub fn new(format: Format) -> Self {
        Self { format, written: 0 }
    }

    /// What comes before everything.
    pub fn start(&self, out: &mut Vec<u8>) {
        if self.format == Format::Har {
            har::start(out);
        }
    }

    /// One exchange.
    pub fn write(&mut self, row: &Row, out: &mut Vec<u8>) {
        let written = match self.format {
            Format::JsonLines => jsonl::write(row, out),
            Format::Har => har::write(row, self.written == 0, out),
        };
        self.written += u64::from(written);
    }

    /// What comes after everything.
    pub fn finish(&self, out: &mut Vec<u8>) {
        if self.format == Format::Har {
            har::finish(out);
        }
    }

    /// How many exchanges were written.
    pub fn written(&self) -> u64 {
        self.written
    }
}

enum Phase {
    Start,
    Page(Option<Cursor>),
    Done,
}

/// Everything that fits, newest first, in pieces.
pub fn stream(
    query: Query,
    filter: Filter,
    format: Format,
) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    let state = (query, filter, Writer::new(format), Phase::Start);
    try_unfold(state, async |(query, filter, mut writer, phase)| {
        let mut out = Vec::new();
        let phase = match phase {
            Phase::Done => return Ok(None),
            Phase::Start => {
                writer.start(&mut out);
                Phase::Page(None)
            }
            Phase::Page(cursor) => {
                let page = query.pairs(&filter, MAX_LIMIT, cursor, TIME_BUDGET).await?;
                page.rows.iter().for_each(|row| writer.write(row, &mut out));
                match page.next {
                    Some(next) => Phase::Page(Some(next)),
                    None => {
                        writer.finish(&mut out);
                        Phase::Done
                    }
                }
            }
        };
        Ok(Some((Bytes::from(out), (query, filter, writer, phase))))
    })
}
