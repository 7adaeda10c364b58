//! Pure. Reads what the server sends: responses, until something else comes.

use common::chunked::Status;
use common::exchange::{End, Finding, Framing, Protocol};

use super::body::Body;
use super::draft::Half;
use super::head::Progress;
use super::message::Stage;
use super::response::Answer;
use super::{Client, Http1, chunk_findings};
use crate::decode::Output;

/// How a call of the server's bytes went on.
pub(super) enum Step {
    /// So many bytes are dealt with.
    Taken(usize),
    /// The connection is a stream from so many bytes on.
    Switch(usize, Protocol, Option<Finding>),
}

impl Http1 {
    pub(super) fn server_bytes(&mut self, bytes: &[u8], at_ns: u64, out: &mut dyn Output) -> Step {
        let mut consumed = 0;
        while consumed < bytes.len() {
            if self.is_over() {
                break;
            }
            match self.response_bytes(bytes.get(consumed..).unwrap_or_default(), at_ns, out) {
                Step::Taken(length) => consumed += length,
                Step::Switch(length, protocol, finding) => {
                    return Step::Switch(consumed + length, protocol, finding);
                }
            }
        }
        Step::Taken(consumed)
    }

    fn response_bytes(&mut self, bytes: &[u8], at_ns: u64, out: &mut dyn Output) -> Step {
        match &mut self.responses.stage {
            Stage::Between => self.response_start(bytes, at_ns, out),
            Stage::Head => self.response_head(bytes, at_ns, out),
            Stage::Body(body) => {
                let taken = body.take(bytes);
                self.responses.content_bytes += taken.content;
                let limits = self.limits;
                if let Some(open) = self.queue.front() {
                    open.keep(out, |draft, out| draft.body(Half::Response, bytes, taken, at_ns, limits, out));
                    chunk_findings(open, body);
                    if taken.status == Status::Bad {
                        open.find(Finding::BadChunk);
                    }
                }
                let length = taken.body + taken.trailers;
                match taken.status {
                    Status::More => {}
                    Status::Complete => self.end_response(out),
                    Status::Bad => return Step::Switch(length, Protocol::Tcp, Some(Finding::BadChunk)),
                }
                Step::Taken(length)
            }
        }
    }

    fn response_start(&mut self, bytes: &[u8], at_ns: u64, out: &mut dyn Output) -> Step {
        let (blank, too_many) = self.responses.skip_blank(bytes, at_ns);
        if too_many {
            return Step::Switch(blank, Protocol::Tcp, Some(Finding::BadStartLine));
        }
        if blank == bytes.len() {
            return Step::Taken(blank);
        }
        let solicited = !self.queue.is_empty();
        if !solicited && !self.queue.open(out) {
            return Step::Switch(blank, Protocol::Tcp, Some(Finding::PipelineOverflow));
        }
        let (before, limit) = (self.responses.blank(), self.limits.head);
        if let Some(open) = self.queue.front() {
            if open.responded {
                // The one open request was answered before it ended; this is a second answer.
                return Step::Switch(blank, Protocol::Tcp, Some(Finding::UnsolicitedResponse));
            }
            if !solicited {
                open.unsolicited = true;
                open.requested = true;
                open.find(Finding::UnsolicitedResponse);
            }
            open.responding = true;
            open.keep(out, |draft, out| draft.begin(Half::Response, before, at_ns, limit, out));
        }
        self.responses.stage = Stage::Head;
        Step::Taken(blank)
    }

    fn response_head(&mut self, bytes: &[u8], at_ns: u64, out: &mut dyn Output) -> Step {
        let (length, progress) = self.responses.head.read(bytes, out);
        if progress == Progress::BadStart {
            let finding = self.drop_response(out);
            self.responses.stage = Stage::Between;
            return Step::Switch(0, Protocol::Tcp, Some(finding));
        }
        self.responses.seen.add(length, at_ns);
        let whole = matches!(progress, Progress::Complete(_));
        let head = bytes.get(..length).unwrap_or(bytes);
        let limit = self.limits.head;
        let Some(open) = self.queue.front() else {
            return Step::Taken(length);
        };
        open.keep(out, |draft, out| draft.head(Half::Response, head, whole, at_ns, limit, out));
        let Progress::Complete(start) = progress else {
            return Step::Taken(length);
        };
        let told = self.responses.head.told(start);
        if let Some(draft) = open.draft() {
            draft.findings.merge(self.responses.head.findings);
        }
        let upgrade = &self.responses.head.upgrade;
        let websocket = upgrade.words() > 0 || (open.asked.websocket && !upgrade.is_present());
        let mut answer = start.answer(open.asked, told);
        if open.unsolicited && answer == Answer::Informational {
            // No request is there that a later response could belong to.
            answer = Answer::Final(Framing::None, 0);
        }
        self.responses.end_head(out);
        match answer {
            Answer::Informational => {
                open.keep(out, |draft, out| draft.informational(limit, out));
                self.responses.stage = Stage::Between;
            }
            Answer::Switch => {
                open.answered = true;
                let finding = open.unsolicited.then_some(Finding::UnsolicitedResponse);
                let protocol =
                    if start.status == 101 && websocket { Protocol::WebSocket } else { Protocol::Tcp };
                open.requested = true;
                self.end_response(out);
                return Step::Switch(length, protocol, finding);
            }
            Answer::Final(framing, body_bytes) => {
                open.answered = true;
                if let Some(part) = open.draft().and_then(|draft| draft.response.as_mut()) {
                    part.framing = framing;
                }
                if matches!(self.client, Client::Held) && self.queue.len() == 1 {
                    self.resume(out);
                }
                match Body::new(framing, body_bytes) {
                    Some(body) => self.responses.stage = Stage::Body(body),
                    None => self.end_response(out),
                }
            }
        }
        Step::Taken(length)
    }

    /// The server's bytes since the last message are no response; tells what that is.
    fn drop_response(&mut self, out: &mut dyn Output) -> Finding {
        let alone = self.queue.len() == 1;
        let Some(open) = self.queue.front() else {
            return Finding::UnsolicitedResponse;
        };
        if let Some(draft) = open.draft() {
            draft.drop_half(Half::Response);
        }
        if !open.unsolicited {
            return Finding::BadStartLine;
        }
        if alone {
            self.queue.take_back(out);
        }
        Finding::UnsolicitedResponse
    }

    pub(super) fn end_response(&mut self, out: &mut dyn Output) {
        let content_bytes = self.responses.content_bytes;
        self.responses.next(out);
        if let Some(open) = self.queue.front() {
            open.responded = true;
            out.response(open.index, content_bytes);
            if open.requested {
                self.queue.put_out_front(End::Complete, out);
            } else {
                open.find(Finding::EarlyResponse);
            }
        }
    }
}
