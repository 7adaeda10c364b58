//! Pure. What a replica has taken, and what it takes next.
//!
//! Redis may come back empty, as an older copy of itself, or as a replica of it that had not heard of the last writes.
//! What is older than what is served already is not taken: the primary notices, and writes everything again. Only when
//! a primary is there and leaves it so, it is believed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::layout::{Entry, Head, Mark};

/// How long what is older must stay so, under a primary, until it is believed.
pub(super) const BELIEVED: Duration = Duration::from_secs(10);

/// What was taken, by environment. Kept on disk, so that a restart does not go back.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Marks {
    head: Mark,
    environments: BTreeMap<String, Mark>,
    #[serde(skip)]
    older: Option<Instant>,
    /// What was taken since the start: what was kept on disk may be older than its mark.
    #[serde(skip)]
    sure: BTreeMap<String, Mark>,
    /// Whether everything was taken once since the start.
    #[serde(skip)]
    has_begun: bool,
}

/// What to do with what is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is what was taken.
    Known,
    /// Take what is new.
    Newer,
    /// It is older than what is served: wait.
    Older,
}

impl Marks {
    /// What to do when this was written last.
    pub(super) fn judge(&mut self, head: Head, has_primary: bool, now: Instant) -> Verdict {
        if head.mark < self.head {
            let since = *self.older.get_or_insert(now);
            if !has_primary || now.saturating_duration_since(since) < BELIEVED {
                return Verdict::Older;
            }
            *self = Self::default();
            return Verdict::Newer;
        }
        self.older = None;
        if head.mark == self.head && self.has_begun { Verdict::Known } else { Verdict::Newer }
    }

    /// Whether a primary that keeps an index was ever followed: what is left without one is torn, not documented.
    pub(super) fn has_index(&self) -> bool {
        self.head != Mark::default()
    }

    /// Whether this environment is to be taken. What was served before the start is taken again.
    pub(super) fn is_new(&self, id: &str, entry: &Entry) -> bool {
        if self.sure.get(id).is_some_and(|taken| *taken >= entry.mark) {
            return false;
        }
        self.environments.get(id).is_none_or(|taken| *taken <= entry.mark)
    }

    /// This environment was taken.
    pub(super) fn take(&mut self, id: &str, mark: Mark) {
        self.environments.insert(id.to_owned(), mark);
        self.sure.insert(id.to_owned(), mark);
    }

    /// Everything up to this was taken; only these are left.
    pub(super) fn finish(&mut self, head: Head, is_there: impl Fn(&str) -> bool) {
        self.head = head.mark;
        if head.is_whole {
            self.environments.retain(|id, _| is_there(id));
            self.sure.retain(|id, _| is_there(id));
        }
        self.has_begun = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fence: u64, number: u64) -> Head {
        Head { mark: Mark(fence, number), is_whole: true }
    }

    fn entry(fence: u64, number: u64) -> Entry {
        let text = String::new;
        Entry { mark: Mark(fence, number), flags: text(), groups: text(), keys: text(), name: text() }
    }

    fn taken(fence: u64, number: u64) -> Marks {
        let mut marks = Marks::default();
        marks.take("e", Mark(fence, number));
        marks.finish(head(fence, number), |_| true);
        marks
    }

    #[test]
    fn what_is_older_is_waited_out_and_believed_only_under_a_primary() {
        let (mut marks, now) = (taken(5, 9), Instant::now());
        assert_eq!(marks.judge(head(5, 9), true, now), Verdict::Known);
        assert_eq!(marks.judge(head(5, 10), true, now), Verdict::Newer);
        assert_eq!(marks.judge(head(5, 8), true, now), Verdict::Older);
        assert_eq!(
            marks.judge(head(4, 99), false, now + BELIEVED * 99),
            Verdict::Older,
            "nobody wrote it so"
        );
        assert_eq!(marks.judge(head(6, 1), true, now + BELIEVED), Verdict::Newer);
        assert_eq!(marks.judge(head(4, 1), true, now + BELIEVED), Verdict::Older);
        assert_eq!(marks.judge(head(4, 1), true, now + BELIEVED * 2), Verdict::Newer);
        assert!(marks.is_new("e", &entry(4, 1)));
    }

    #[test]
    fn an_index_that_was_followed_is_not_forgotten() {
        let kept = serde_json::to_string(&taken(5, 9)).unwrap();
        assert!(serde_json::from_str::<Marks>(&kept).unwrap().has_index());
        assert!(!Marks::default().has_index());
    }

    #[test]
    fn an_environment_never_goes_back_while_others_are_written_anew() {
        let marks = taken(5, 9);
        assert!(!marks.is_new("e", &entry(5, 8)), "it was not written anew yet");
        assert!(!marks.is_new("e", &entry(5, 9)));
        assert!(marks.is_new("e", &entry(6, 1)) && marks.is_new("f", &entry(1, 1)));
    }

    #[test]
    fn after_a_restart_the_same_is_taken_again_and_nothing_older() {
        let kept = serde_json::to_string(&taken(5, 9)).unwrap();
        let mut marks: Marks = serde_json::from_str(&kept).unwrap();
        let now = Instant::now();
        assert_eq!(marks.judge(head(5, 8), false, now), Verdict::Older);
        assert_eq!(marks.judge(head(5, 9), false, now), Verdict::Newer);
        assert!(marks.is_new("e", &entry(5, 9)) && !marks.is_new("e", &entry(5, 8)));
    }

    #[test]
    fn what_is_gone_is_forgotten_once_everything_is_written() {
        let mut marks = taken(5, 9);
        marks.finish(Head { mark: Mark(6, 1), is_whole: false }, |_| false);
        assert!(!marks.is_new("e", &entry(5, 8)));
        marks.finish(head(6, 2), |_| false);
        assert!(marks.is_new("e", &entry(6, 3)));
    }
}
