//! Reads a conversation of the corpus, and tells an exchange as the corpus does. README.md has the format.

use common::exchange::{End, Exchange, Framing, Message, Protocol};
use goproxy::attack::Event;
use goproxy::decode::Side;

use crate::text::{repeated, unescape};

/// One file of the corpus.
pub(crate) struct Conversation {
    pub(crate) events: Vec<Event>,
    pub(crate) end: End,
    pub(crate) expected: Vec<String>,
}

impl Conversation {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut conversation = Self { events: Vec::new(), end: End::Complete, expected: Vec::new() };
        for line in text.lines() {
            conversation.line(line).ok_or_else(|| format!("not understood: {line}"))?;
        }
        Ok(conversation)
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let from = match line.chars().next() {
            None | Some('#') => return Some(()),
            Some('>') => Side::Client,
            Some('<') => Side::Server,
            Some('=') => {
                let (times, told) = repeated(line.get(1..)?)?;
                self.expected.extend(std::iter::repeat_n(told.to_owned(), times));
                return Some(());
            }
            Some(_) => {
                self.end = End::from_name(line.strip_prefix("end ")?)?;
                return Some(());
            }
        };
        let rest = line.get(1..)?;
        if rest == "." {
            self.events.push(Event::HalfClosed(from));
            return Some(());
        }
        let (times, text) = repeated(rest)?;
        let bytes = unescape(text)?.repeat(times);
        match self.events.last_mut() {
            Some(Event::Bytes(side, before)) if *side == from => before.extend_from_slice(&bytes),
            _ => self.events.push(Event::Bytes(from, bytes)),
        }
        Some(())
    }
}

/// An exchange as the corpus tells it.
pub(crate) fn tell(exchange: &Exchange) -> String {
    let mut told =
        format!("{}: {}", exchange.protocol.as_str(), tell_message(exchange.protocol, &exchange.request));
    for head in &exchange.informational {
        told.push_str(&format!(" -> {}", start_line(head)));
    }
    let response = exchange.response.as_ref().map(|response| tell_message(exchange.protocol, response));
    told.push_str(&format!(" -> {} | {}", response.as_deref().unwrap_or("nothing"), exchange.end.as_str()));
    for (at, finding) in exchange.findings.iter().enumerate() {
        told.push_str(if at == 0 { " | " } else { " " });
        told.push_str(finding.as_str());
    }
    told
}

fn tell_message(protocol: Protocol, message: &Message) -> String {
    if protocol != Protocol::Http1 {
        return message.wire_bytes.to_string();
    }
    if message.head_bytes == 0 {
        return "nothing".to_owned();
    }
    let mut told = start_line(&message.head);
    match message.framing {
        Framing::None => {}
        framing => told.push_str(&format!(" ({}, {})", framing.as_str(), message.body_bytes)),
    }
    if message.trailers.len() > 2 {
        told.push_str(" + trailers");
    }
    told
}

fn start_line(head: &[u8]) -> String {
    let line = head.trim_ascii_start().split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line).escape_ascii().to_string()
}
