//! Pure. Who has signed in: ids that were drawn at random and say nothing of the token.

use std::time::{Duration, Instant};

use crate::config::Secret;

/// A session ends by itself after so long.
const LASTS: Duration = Duration::from_hours(12);
/// Beyond so many, the oldest ends.
const MOST: usize = 64;

/// The sessions that are open, oldest first.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: Vec<Session>,
}

#[derive(Debug)]
struct Session {
    id: Secret,
    /// It ends with the token that was shown.
    token: Secret,
    since: Instant,
}

impl Sessions {
    /// Somebody showed the token; from now on this id stands for it.
    pub(super) fn begin(&mut self, id: &str, token: &Secret, now: Instant) {
        self.open.retain(|session| session.is_open(token, now));
        if self.open.len() >= MOST {
            self.open.remove(0);
        }
        self.open.push(Session { id: Secret::from(id), token: token.clone(), since: now });
    }

    /// Whether this is the id of an open session. Looks at all of them, in a time that tells nothing.
    pub(super) fn knows(&self, told: &[u8], token: &Secret, now: Instant) -> bool {
        let fits = |session: &Session| session.id.matches(told) & session.is_open(token, now);
        self.open.iter().fold(false, |known, session| known | fits(session))
    }

    /// This session is over.
    pub(super) fn end(&mut self, told: &[u8]) {
        self.open.retain(|session| !session.id.matches(told));
    }
}

impl Session {
    fn is_open(&self, token: &Secret, now: Instant) -> bool {
        self.token.matches(token.expose().as_bytes()) & (now.saturating_duration_since(self.since) < LASTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lasts_until_it_ends_or_is_too_old_or_the_token_is_another() {
        let (mut sessions, start, token) = (Sessions::default(), Instant::now(), Secret::from("t"));
        sessions.begin("a", &token, start);
        sessions.begin("b", &token, start);
        assert!(sessions.knows(b"a", &token, start) && sessions.knows(b"b", &token, start));
        assert!(!sessions.knows(b"c", &token, start) && !sessions.knows(b"", &token, start));
        assert!(!sessions.knows(b"a", &Secret::from("u"), start));
        sessions.end(b"a");
        assert!(!sessions.knows(b"a", &token, start) && sessions.knows(b"b", &token, start));
        assert!(!sessions.knows(b"b", &token, start + LASTS));
    }

    #[test]
    fn there_are_never_too_many() {
        let (mut sessions, start, token) = (Sessions::default(), Instant::now(), Secret::from("t"));
        for number in 0..=MOST {
            sessions.begin(&number.to_string(), &token, start);
        }
        assert!(!sessions.knows(b"0", &token, start) && sessions.knows(b"1", &token, start));
        assert_eq!(sessions.open.len(), MOST);
    }
}
