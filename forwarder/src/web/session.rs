//! Pure. Who has signed in: ids that were drawn at random and say nothing of the token.

use std::time::{Duration, Instant};

use common::config::Secret;

/// A session ends by itself after so long.
const LASTS: Duration = Duration::from_secs(12 * 3600);
/// Beyond so many, the oldest ends.
const MOST: usize = 64;

/// The sessions that are open, oldest first.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: Vec<(Secret, Instant)>,
}

impl Sessions {
    /// Somebody showed the token; from now on this id stands for it.
    pub(super) fn begin(&mut self, id: &str, now: Instant) {
        self.open.retain(|(_, since)| now.saturating_duration_since(*since) < LASTS);
        if self.open.len() >= MOST {
            self.open.remove(0);
        }
        self.open.push((Secret::from(id), now));
    }

    /// Whether this is the id of an open session. Looks at all of them, in a time that tells nothing.
    pub(super) fn knows(&self, told: &[u8], now: Instant) -> bool {
        let fits = |(id, since): &(Secret, Instant)| {
            id.matches(told) & (now.saturating_duration_since(*since) < LASTS)
        };
        self.open.iter().fold(false, |known, session| known | fits(session))
    }

    /// This session is over.
    pub(super) fn end(&mut self, told: &[u8]) {
        self.open.retain(|(id, _)| !id.matches(told));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lasts_until_it_ends_or_is_too_old() {
        let (mut sessions, start) = (Sessions::default(), Instant::now());
        sessions.begin("a", start);
        sessions.begin("b", start);
        assert!(sessions.knows(b"a", start) && sessions.knows(b"b", start));
        assert!(!sessions.knows(b"c", start) && !sessions.knows(b"", start));
        sessions.end(b"a");
        assert!(!sessions.knows(b"a", start) && sessions.knows(b"b", start));
        assert!(!sessions.knows(b"b", start + LASTS));
    }

    #[test]
    fn there_are_never_too_many() {
        let (mut sessions, start) = (Sessions::default(), Instant::now());
        for number in 0..=MOST {
            sessions.begin(&number.to_string(), start);
        }
        assert!(!sessions.knows(b"0", start) && sessions.knows(b"1", start));
        assert_eq!(sessions.open.len(), MOST);
    }
}
