//! Pure. The account stream: server-sent events out of bytes that are split anywhere.

use serde::Deserialize;

use super::memory::List;
use crate::{
    environment::{self, Domain},
    shape::or_default,
};

/// The longest line that is read.
const MOST_LINE_BYTES: usize = 1 << 20;

/// What the service says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A flag or a group changed.
    Changed(Change),
    /// What the key opens changed.
    Account(Account),
}

/// A flag or a group that changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) domain: Domain,
    pub(super) event: environment::Event,
    pub(super) environment: String,
    pub(super) identifier: String,
    pub(super) version: u64,
}

/// What the key opens changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Account {
    KeyDeleted,
    /// These came or went.
    Environments(Vec<String>),
    /// An SDK key of this environment.
    Key(String),
}

impl Change {
    pub(super) fn list(&self) -> List {
        match self.domain {
            Domain::Flag => List::Flags(self.environment.clone()),
            Domain::Group => List::Groups(self.environment.clone()),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message {
    #[serde(deserialize_with = "or_default")]
    event: String,
    #[serde(deserialize_with = "or_default")]
    domain: String,
    #[serde(deserialize_with = "or_default")]
    identifier: String,
    #[serde(deserialize_with = "or_default")]
    version: u64,
    #[serde(deserialize_with = "or_default")]
    environment: String,
    #[serde(deserialize_with = "or_default")]
    environments: Vec<String>,
}

/// What a message says; `None` for what this relay does not know.
fn read(data: &[u8]) -> Option<Event> {
    let told: Message = serde_json::from_slice(data).ok()?;
    let domain = match told.domain.as_str() {
        "flag" => Domain::Flag,
        "target-segment" => Domain::Group,
        "proxy" => {
            return Some(Event::Account(match told.event.as_str() {
                "proxyKeyDeleted" => Account::KeyDeleted,
                "environmentsAdded" | "environmentsRemoved" => Account::Environments(told.environments),
                "apiKeyAdded" | "apiKeyRemoved" => Account::Key(told.environment),
                _ => return None,
            }));
        }
        _ => return None,
    };
    let event = match told.event.as_str() {
        "create" => environment::Event::Create,
        "patch" => environment::Event::Patch,
        "delete" => environment::Event::Delete,
        _ => return None,
    };
    let Message { environment, identifier, version, .. } = told;
    Some(Event::Changed(Change { domain, event, environment, identifier, version }))
}

/// Takes bytes, gives events.
#[derive(Debug, Default)]
pub(super) struct Reader {
    line: Vec<u8>,
    data: Vec<u8>,
}

/// A line is longer than any that the service writes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Reader {
    /// What these bytes complete.
    ///
    /// # Errors
    /// When a line or an event has no end.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
                if self.line.len() + self.data.len() > MOST_LINE_BYTES {
                    return Err(TooLong);
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            if line.is_empty() {
                events.extend(read(&std::mem::take(&mut self.data)));
            } else if let Some(data) = line.strip_prefix(b"data:") {
                self.data.extend_from_slice(data.trim_ascii_start());
            }
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &[u8] = b": beat\n\nevent: *\r\ndata: {\"event\":\"patch\",\"domain\":\"flag\",\"identifier\":\"f\",\
        \"version\":2,\"environment\":\"e\",\"apiKey\":\"\"}\r\n\r\ndata: not JSON\n\ndata:{\"event\":\"apiKeyAdded\",\
        \"domain\":\"proxy\",\"environment\":\"e\"}\n\ndata: {\"event\":\"new\",\"domain\":\"proxy\"}\n\n";

    #[test]
    fn events_come_out_however_the_bytes_are_split() {
        let expected = [
            Event::Changed(Change {
                domain: Domain::Flag,
                event: environment::Event::Patch,
                environment: "e".to_owned(),
                identifier: "f".to_owned(),
                version: 2,
            }),
            Event::Account(Account::Key("e".to_owned())),
        ];
        for size in 1..TOLD.len() {
            let mut reader = Reader::default();
            let events: Vec<_> = TOLD.chunks(size).flat_map(|part| reader.push(part).unwrap()).collect();
            assert_eq!(events, expected, "{size}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let mut reader = Reader::default();
        let part = vec![b'x'; 1 << 16];
        assert!((0..17).any(|_| reader.push(&part).is_err()));
    }
}
