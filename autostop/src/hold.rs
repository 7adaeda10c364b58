//! Pure. How a client that has to wait is told so, in the words of its own protocol.

pub mod mysql;
pub mod postgres;
pub mod ssh;

use std::time::Duration;

/// What is said of a target that cannot be reached yet, or at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The name of the target.
    pub name: String,
    /// Why it will not come, if it will not; else it is on its way.
    pub failure: Option<String>,
    /// How long it takes still, if that is known.
    pub left: Option<Duration>,
}

impl Notice {
    /// One sentence without control characters or a period.
    pub fn sentence(&self) -> String {
        let name = printable(&self.name);
        match (&self.failure, seconds(self.left)) {
            (Some(failure), _) => format!("{name} could not be started: {}", printable(failure)),
            (None, Some(left)) => format!("{name} is starting, about {left} s left"),
            (None, None) => format!("{name} is starting"),
        }
    }
}

/// Whole seconds, rounded up; never less than one, because it is not there yet.
pub fn seconds(left: Option<Duration>) -> Option<u64> {
    left.map(|left| (left.as_millis().div_ceil(1000)).try_into().unwrap_or(u64::MAX).max(1))
}

/// What can stand in one line of anything.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

#[cfg(test)]
pub(crate) fn starting(left_ms: Option<u64>) -> Notice {
    Notice { name: "build-box".to_owned(), failure: None, left: left_ms.map(Duration::from_millis) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_no_line_break_of_others() {
        let notice = Notice { name: "a\r\nb".to_owned(), failure: Some("no\nroom".to_owned()), left: None };
        assert_eq!(notice.sentence(), "a  b could not be started: no room");
    }

    #[test]
    fn what_is_left_is_rounded_up_and_never_nothing() {
        assert_eq!(seconds(Some(Duration::from_millis(1001))), Some(2));
        assert_eq!(seconds(Some(Duration::ZERO)), Some(1));
        assert_eq!(seconds(None), None);
    }
}
