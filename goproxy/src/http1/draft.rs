//! Pure. An exchange in the making: what is kept of it, and the memory that takes.

use bytes::Bytes;
use common::chunked::Status;
use common::exchange::{End, Exchange, Framing, Message, Protocol};

use super::body::Taken;
use super::memory::Account;
use crate::decode::{Limits, Output};
use crate::findings::Findings;

/// What an exchange takes beside the bytes that it keeps.
const FIXED_BYTES: usize = size_of::<Exchange>();

/// Room for a body whose length is told is made at once up to this, beyond it as the bytes come.
const MAX_FIRST_BYTES: u64 = 64 * 1024;

/// Room for a head or body whose length is not known.
const MIN_ROOM_BYTES: usize = 512;

/// An exchange whose bytes are kept.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) request: Part,
    pub(super) response: Option<Part>,
    informational: Vec<Bytes>,
    informational_bytes: usize,
    pub(super) findings: Findings,
    account: Account,
}

/// One side of it.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) first_byte_ns: u64,
    pub(super) last_byte_ns: u64,
    pub(super) head: Vec<u8>,
    head_bytes: u64,
    pub(super) framing: Framing,
    body: Vec<u8>,
    body_bytes: u64,
    wire_bytes: u64,
    trailers: Vec<u8>,
}

/// Which side of an exchange some bytes belong to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Half {
    Request,
    Response,
}

impl Draft {
    /// `None` when there is no memory for it.
    pub(super) fn new(out: &mut dyn Output) -> Option<Box<Self>> {
        let mut draft = Box::<Self>::default();
        draft.account.take(FIXED_BYTES, out).then_some(draft)
    }

    fn part(&mut self, half: Half) -> (&mut Part, &mut Account) {
        let part = match half {
            Half::Request => &mut self.request,
            Half::Response => self.response.get_or_insert_default(),
        };
        (part, &mut self.account)
    }

    /// Begins one side with the bytes that stood before its start line. `false` when there is no memory.
    #[must_use]
    pub(super) fn begin(
        &mut self,
        half: Half,
        before: &[u8],
        at_ns: u64,
        limit: usize,
        out: &mut dyn Output,
    ) -> bool {
        let (part, account) = self.part(half);
        part.first_byte_ns = at_ns;
        part.last_byte_ns = at_ns;
        part.head_bytes = before.len() as u64;
        before.is_empty() || account.append(&mut part.head, within(before, limit, 0), 0, out)
    }

    /// What was taken for the start of this side is none.
    pub(super) fn drop_half(&mut self, half: Half) {
        let part = match half {
            Half::Request => Some(std::mem::take(&mut self.request)),
            Half::Response => self.response.take(),
        };
        self.account.put_back(part.map_or(0, |part| part.head.capacity()));
    }

    /// More of a head; `whole` when it ends with these bytes. `false` when there is no memory.
    #[must_use]
    pub(super) fn head(
        &mut self,
        half: Half,
        bytes: &[u8],
        whole: bool,
        at_ns: u64,
        limit: usize,
        out: &mut dyn Output,
    ) -> bool {
        let (part, account) = self.part(half);
        part.last_byte_ns = at_ns;
        part.head_bytes += bytes.len() as u64;
        let kept = within(bytes, limit, part.head.len());
        let room = if whole { 0 } else { growth(&part.head, limit) };
        account.append(&mut part.head, kept, room, out)
    }

    /// More of a body and its trailer section. `false` when there is no memory.
    #[must_use]
    pub(super) fn body(
        &mut self,
        half: Half,
        bytes: &[u8],
        taken: Taken,
        at_ns: u64,
        limits: Limits,
        out: &mut dyn Output,
    ) -> bool {
        let (part, account) = self.part(half);
        let (body, behind) = bytes.split_at_checked(taken.body).unwrap_or((bytes, &[]));
        let trailers = behind.get(..taken.trailers).unwrap_or(behind);
        if taken.body + taken.trailers > 0 {
            part.last_byte_ns = at_ns;
        }
        part.wire_bytes += body.len() as u64;
        part.body_bytes += taken.content;
        let kept = within(body, limits.body, part.body.len());
        let room = if part.framing == Framing::Length {
            let whole = usize::try_from(taken.expected.min(MAX_FIRST_BYTES)).unwrap_or(usize::MAX);
            (part.body.len() + whole).max(part.body.capacity() * 2).min(limits.body)
        } else if taken.status == Status::Complete {
            0
        } else {
            growth(&part.body, limits.body)
        };
        if !kept.is_empty() && !account.append(&mut part.body, kept, room, out) {
            return false;
        }
        let kept = within(trailers, limits.head, part.trailers.len());
        let room = (part.trailers.capacity() * 2).min(limits.head);
        kept.is_empty() || account.append(&mut part.trailers, kept, room, out)
    }

    /// What was taken for the head of the response was that of a 1xx. `false` when there is no memory.
    #[must_use]
    pub(super) fn informational(&mut self, limit: usize, out: &mut dyn Output) -> bool {
        let Some(mut part) = self.response.take() else {
            return true;
        };
        self.account.trim(&mut part.head);
        let truncated = (part.head.len() as u64) < part.head_bytes;
        if truncated || self.informational_bytes + part.head.len() > limit {
            self.account.put_back(part.head.len());
            self.informational_bytes = limit;
            return true;
        }
        self.informational_bytes += part.head.len();
        self.informational.push(Bytes::from(part.head));
        // A vector doubles: twice its own element.
        self.account.take(2 * size_of::<Bytes>(), out)
    }

    /// Gives all of its memory back.
    pub(super) fn give_up(&mut self, out: &mut dyn Output) {
        self.account.close(out);
    }

    pub(super) fn put_out(mut self: Box<Self>, index: u64, end: End, out: &mut dyn Output) {
        let exchange = Exchange {
            index,
            protocol: Protocol::Http1,
            request: self.request.into_message(&mut self.account),
            response: self.response.map(|part| part.into_message(&mut self.account)),
            informational: self.informational,
            end,
            findings: self.findings.to_vec(),
        };
        let reserved = self.account.settle(out);
        out.exchange(exchange, reserved);
    }
}

impl Part {
    fn into_message(mut self, account: &mut Account) -> Message {
        account.trim(&mut self.head);
        account.trim(&mut self.body);
        account.trim(&mut self.trailers);
        Message {
            first_byte_ns: self.first_byte_ns,
            last_byte_ns: self.last_byte_ns,
            head: Bytes::from(self.head),
            head_bytes: self.head_bytes,
            framing: self.framing,
            body: Bytes::from(self.body),
            body_bytes: self.body_bytes,
            wire_bytes: self.wire_bytes,
            trailers: Bytes::from(self.trailers),
        }
    }
}

/// What of these bytes may be kept behind so many others.
fn within(bytes: &[u8], limit: usize, kept: usize) -> &[u8] {
    bytes.get(..limit.saturating_sub(kept)).unwrap_or(bytes)
}

fn growth(buffer: &Vec<u8>, limit: usize) -> usize {
    (buffer.capacity() * 2).max(MIN_ROOM_BYTES).min(limit)
}
