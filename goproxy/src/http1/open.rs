//! Pure. The exchanges that wait for their end, in the order of their requests.

use std::collections::VecDeque;

use common::exchange::{End, Finding};

use super::draft::Draft;
use super::request::Asked;
use crate::decode::{Lost, Output};

/// So many may wait before memory for the queue itself is asked for.
const FREE_DEPTH: usize = 16;

/// One exchange that is not over.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) index: u64,
    pub(super) asked: Asked,
    /// The request is at its end.
    pub(super) requested: bool,
    /// The head of the response is complete.
    pub(super) answered: bool,
    /// The response is at its end.
    pub(super) responded: bool,
    /// Some of the response has come.
    pub(super) responding: bool,
    /// There is no request.
    pub(super) unsolicited: bool,
    /// What is kept of it; `None` when its bytes were given up.
    draft: Option<Box<Draft>>,
}

impl Open {
    /// Does something to what is kept; when that is not granted its memory, nothing is kept any more.
    pub(super) fn keep(
        &mut self,
        out: &mut dyn Output,
        change: impl FnOnce(&mut Draft, &mut dyn Output) -> bool,
    ) {
        if let Some(draft) = &mut self.draft
            && !change(draft, out)
        {
            draft.give_up(out);
            self.draft = None;
        }
    }

    pub(super) fn draft(&mut self) -> Option<&mut Draft> {
        self.draft.as_deref_mut()
    }

    pub(super) fn find(&mut self, finding: Finding) {
        if let Some(draft) = &mut self.draft {
            draft.findings.add(finding);
        }
    }

    fn put_out(self, end: End, out: &mut dyn Output) {
        match self.draft {
            Some(draft) => draft.put_out(self.index, end, out),
            None => out.lost(self.index, Lost::Memory),
        }
    }
}

/// The exchanges that are open on a connection.
#[derive(Debug, Default)]
pub(super) struct Queue {
    open: VecDeque<Open>,
    reserved: usize,
    pub(super) next_index: u64,
}

impl Queue {
    /// Opens an exchange. `false` when there is no memory for another one to wait.
    #[must_use]
    pub(super) fn open(&mut self, out: &mut dyn Output) -> bool {
        let depth = self.open.len();
        if depth == self.open.capacity() && depth >= FREE_DEPTH {
            let more = depth * size_of::<Open>();
            if !out.reserve(more) {
                return false;
            }
            self.reserved += more;
            self.open.reserve_exact(depth);
        }
        self.open.push_back(Open {
            index: self.next_index,
            asked: Asked::default(),
            requested: false,
            answered: false,
            responded: false,
            responding: false,
            unsolicited: false,
            draft: Draft::new(out),
        });
        self.next_index += 1;
        true
    }

    /// The exchange that the server answers now.
    pub(super) fn front(&mut self) -> Option<&mut Open> {
        self.open.front_mut()
    }

    /// The exchange whose request came last.
    pub(super) fn back(&mut self) -> Option<&mut Open> {
        self.open.back_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The first exchange is over.
    pub(super) fn put_out_front(&mut self, end: End, out: &mut dyn Output) {
        if let Some(open) = self.open.pop_front() {
            open.put_out(end, out);
        }
        self.shrink(out);
    }

    /// The last exchange was none.
    pub(super) fn take_back(&mut self, out: &mut dyn Output) {
        if let Some(open) = self.open.pop_back() {
            self.next_index = open.index;
            if let Some(mut draft) = open.draft {
                draft.give_up(out);
            }
        }
        self.shrink(out);
    }

    fn shrink(&mut self, out: &mut dyn Output) {
        if self.open.is_empty() && self.reserved > 0 {
            self.open = VecDeque::new();
            out.release(self.reserved);
            self.reserved = 0;
        }
    }
}
