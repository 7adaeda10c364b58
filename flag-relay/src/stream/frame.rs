//! Pure. What is written to streams: one event at a time, in the form that every SDK reads.
//!
//! `data: ` has exactly one space and one line of JSON. What is not ASCII is escaped, since SDKs disagree on the
//! encoding of streams. An event is so short that it fits into one packet: some SDKs lose what comes in two pieces.

use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::Value;

use crate::{
    environment::{Change, Domain, Environment, Event},
    evaluate::{Dialect, Evaluation, Subject},
    hub::Told,
    shape::Target,
};

/// What a quiet stream says from time to time. It is never written together with an event: one SDK drops what begins
/// so.
pub(super) const HEARTBEAT: &str = ":\n\n";
/// The longest event. What would be longer is told without values, and the SDK asks.
const MOST_EVENT_BYTES: usize = 1200;
/// Flags that are told one by one; of more, an SDK had better ask for all.
const MOST_FLAGS: usize = 20;

/// For an SDK that evaluates by itself.
pub(super) fn server(environment: &str, told: &Told) -> String {
    event(environment, &told.change, None)
}

/// For an SDK that is told its values: every flag whose value may be another now, with its value for this target.
pub(super) fn client(environment: &Environment, told: &Told, target: &Target) -> Vec<String> {
    let change = &told.change;
    let mut frames = Vec::new();
    let affected = match change.domain {
        Domain::Flag => environment.rules.told_by_flag(&change.identifier),
        Domain::Group => environment.rules.told_by_group(&change.identifier),
    };
    if change.domain == Domain::Flag && change.event == Event::Delete {
        frames.push(event(&environment.id, change, None));
    }
    if affected.len() > MOST_FLAGS {
        frames.push(everything(&environment.id, change));
        return frames;
    }
    let subject = Subject::new(target);
    let evaluation = Evaluation::new(&environment.rules, &subject, Dialect::Relay);
    for flag in affected.iter().filter_map(|at| environment.rules.flags().get(*at)) {
        let is_named = change.domain == Domain::Flag && *flag.identifier == *change.identifier;
        let event_now = if is_named && change.event != Event::Delete { change.event } else { Event::Patch };
        let change = Change {
            domain: Domain::Flag,
            event: event_now,
            identifier: flag.identifier.clone(),
            version: change.version,
        };
        // An SDK takes no value that is empty, and asks instead.
        let variation = evaluation.variation(flag).filter(|(variation, _)| !variation.value.is_empty());
        let whole = variation.map(|(told, _)| event(&environment.id, &change, Some(&told.told)));
        let short = whole.filter(|told| told.len() <= MOST_EVENT_BYTES);
        frames.push(short.unwrap_or_else(|| event(&environment.id, &change, None)));
    }
    frames
}

/// Makes an SDK that is told its values ask for all of them.
pub(super) fn everything(environment: &str, change: &Change) -> String {
    let all = Change { domain: Domain::Group, event: Event::Patch, ..change.clone() };
    event(environment, &all, None)
}

/// For a provider of OFREP: whatever changed, it asks for everything.
pub(super) fn ofrep(told: &Told) -> String {
    format!("event: message\nid: {}\ndata: {{\"type\":\"refetchEvaluation\"}}\n\n", told.number)
}

fn event(environment: &str, change: &Change, evaluation: Option<&str>) -> String {
    let text = |text: &str| Value::String(text.to_owned());
    let mut told = format!(
        r#"{{"event":"{}","domain":"{}","identifier":{},"version":{},"environment":{},"apiKey":"""#,
        change.event.as_str(),
        change.domain.as_str(),
        text(&change.identifier),
        change.version,
        text(environment),
    );
    if let Some(evaluation) = evaluation {
        told.push_str(r#","evaluations":["#);
        told.push_str(evaluation);
        told.push(']');
    }
    told.push('}');
    format!("event: *\ndata: {}\n\n", ascii(&told))
}

/// JSON with everything escaped that is not ASCII; in JSON, that stands in texts only.
fn ascii(json: &str) -> String {
    if json.is_ascii() {
        return json.to_owned();
    }
    let mut told = String::with_capacity(json.len() * 2);
    for character in json.chars() {
        if character.is_ascii() {
            told.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing into a text cannot fail.
                write!(told, "\\u{unit:04x}").ok();
            }
        }
    }
    told
}

/// A frame as it goes out: one chunk, or bare for HTTP/1.0.
pub(super) fn chunk(frame: &str, is_chunked: bool) -> Bytes {
    if is_chunked { format!("{:x}\r\n{frame}\r\n", frame.len()).into() } else { frame.to_owned().into() }
}

#[cfg(test)]
mod tests;
