//! Pure. Reads what the client sends: requests, until something else comes.

use common::chunked::Status;
use common::exchange::{End, Finding, Framing};

use super::body::Body;
use super::draft::Half;
use super::head::Progress;
use super::length::Told;
use super::message::Stage;
use super::request::Asked;
use super::{Client, Http1, chunk_findings};
use crate::decode::{Output, Span};

impl Http1 {
    pub(super) fn client_bytes(&mut self, mut bytes: &[u8], at_ns: u64, out: &mut dyn Output) {
        while !bytes.is_empty() {
            let taken = match &mut self.client {
                Client::Requests => self.request_bytes(bytes, at_ns, out),
                Client::Held => {
                    if !self.held.hold(bytes, at_ns, out) {
                        let span = self.held.take_span(out);
                        self.client = Client::Lost(Some(Finding::UpgradeOverflow), span);
                        continue;
                    }
                    bytes.len()
                }
                Client::Lost(_, span) => {
                    span.add(bytes.len(), at_ns);
                    bytes.len()
                }
            };
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }

    fn request_bytes(&mut self, bytes: &[u8], at_ns: u64, out: &mut dyn Output) -> usize {
        match &mut self.requests.stage {
            Stage::Between => {
                let (blank, too_many) = self.requests.skip_blank(bytes, at_ns);
                if too_many {
                    self.lose_start(out);
                } else if blank < bytes.len() {
                    if self.queue.open(out) {
                        self.requests.stage = Stage::Head;
                        let (before, limit) = (self.requests.blank(), self.limits.head);
                        if let Some(open) = self.queue.back() {
                            open.keep(out, |draft, out| {
                                draft.begin(Half::Request, before, at_ns, limit, out)
                            });
                        }
                    } else {
                        let span = self.requests.end_head(out);
                        self.client = Client::Lost(Some(Finding::PipelineOverflow), span);
                    }
                }
                blank
            }
            Stage::Head => self.request_head(bytes, at_ns, out),
            Stage::Body(body) => {
                let taken = body.take(bytes);
                let limits = self.limits;
                if let Some(open) = self.queue.back() {
                    open.keep(out, |draft, out| draft.body(Half::Request, bytes, taken, at_ns, limits, out));
                    chunk_findings(open, body);
                }
                match taken.status {
                    Status::More => {}
                    Status::Complete => self.end_request(out),
                    Status::Bad => self.lose_rest(Finding::BadChunk, out),
                }
                taken.body + taken.trailers
            }
        }
    }

    fn request_head(&mut self, bytes: &[u8], at_ns: u64, out: &mut dyn Output) -> usize {
        let before = self.requests.seen.bytes;
        let (length, progress) = self.requests.head.read(bytes, out);
        if progress == Progress::BadStart {
            self.lose_start(out);
            return 0;
        }
        self.requests.seen.add(length, at_ns);
        let whole = matches!(progress, Progress::Complete(_));
        let head = bytes.get(..length).unwrap_or(bytes);
        let limit = self.limits.head;
        let Some(open) = self.queue.back() else {
            return length;
        };
        open.keep(out, |draft, out| draft.head(Half::Request, head, whole, at_ns, limit, out));
        let Progress::Complete(start) = progress else {
            return length;
        };
        let told = self.requests.head.told(start);
        open.asked = Asked {
            method: start.method,
            upgrade: self.requests.head.upgrade.is_present(),
            websocket: self.requests.head.upgrade.words() > 0,
        };
        let (framing, body_bytes) = match told {
            Told::Nothing | Told::Wrong(_) => (Framing::None, 0),
            Told::Length(bytes) => (Framing::Length, bytes),
            Told::Chunked => (Framing::Chunked, 0),
        };
        if let Some(draft) = open.draft() {
            draft.findings.merge(self.requests.head.findings);
            draft.request.framing = framing;
        }
        let blank = self.requests.blank().len();
        let index = open.index;
        let (target, target_bytes) = start.target;
        let target = if before == blank as u64 {
            head.get(target..target + target_bytes).unwrap_or_default()
        } else {
            let kept = open.draft().map(|draft| draft.request.head.as_slice()).unwrap_or_default();
            kept.get(blank + target..)
                .map(|kept| kept.get(..target_bytes).unwrap_or(kept))
                .unwrap_or_default()
        };
        out.request(index, target);
        self.requests.end_head(out);
        if let Told::Wrong(finding) = told {
            self.lose_rest(finding, out);
        } else if let Some(body) = Body::new(framing, body_bytes) {
            self.requests.stage = Stage::Body(body);
        } else {
            self.end_request(out);
        }
        length
    }

    /// What came of a request is none: the bytes are not understood from its start on. If it was
    /// answered all the same the answer stays an exchange.
    fn lose_start(&mut self, out: &mut dyn Output) {
        let reading = matches!(self.requests.stage, Stage::Head);
        let mut finding = Some(Finding::BadStartLine);
        if reading && let Some(open) = self.queue.back().filter(|open| open.responding) {
            if let Some(draft) = open.draft() {
                draft.drop_half(Half::Request);
            }
            open.find(Finding::BadStartLine);
        } else {
            if reading {
                self.queue.take_back(out);
            }
            // Nothing was HTTP so far: the connection never was.
            finding = finding.filter(|_| self.queue.next_index > 0);
        }
        let span = self.requests.end_head(out);
        if reading && self.queue.back().is_some_and(|open| !open.requested) {
            self.end_request(out);
        }
        self.requests.stage = Stage::Between;
        self.client = Client::Lost(finding, span);
    }

    /// The last request ends here, and what the client sends from here on is not understood.
    fn lose_rest(&mut self, finding: Finding, out: &mut dyn Output) {
        if let Some(open) = self.queue.back() {
            open.find(finding);
        }
        self.end_request(out);
        self.client = Client::Lost(Some(finding), Span::default());
    }

    fn end_request(&mut self, out: &mut dyn Output) {
        self.requests.next(out);
        if let Some(open) = self.queue.back() {
            open.requested = true;
            if open.responded {
                self.queue.put_out_front(End::Complete, out);
            } else if open.asked.may_switch() && !open.answered {
                self.client = Client::Held;
            }
        }
    }

    /// The answer came and switched nothing: what was held are requests.
    pub(super) fn resume(&mut self, out: &mut dyn Output) {
        self.client = Client::Requests;
        let mut held = std::mem::take(&mut self.held);
        held.release(out, |bytes, at_ns, out| self.client_bytes(bytes, at_ns, out));
    }
}
