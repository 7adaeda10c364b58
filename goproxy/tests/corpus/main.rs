//! The corpus of awkward conversations: each means the same however its bytes are cut up.

use std::fs;
use std::path::{Path, PathBuf};

use common::exchange::Exchange;
use goproxy::attack::{self, Event, Record, bytes_of, check, play};
use goproxy::decode::{Limits, Side};

use self::conversation::{Conversation, tell};

mod conversation;
mod text;

const LIMITS: Limits = Limits { head: 1 << 20, body: 1 << 20 };

/// Every file of the corpus with what is in it.
fn corpus() -> Result<Vec<(PathBuf, Conversation)>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/http1");
    let mut corpus = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
        corpus.push((path, Conversation::parse(&text)?));
    }
    Ok(corpus)
}

fn told(record: &Record) -> Vec<String> {
    record.exchanges.iter().map(tell).collect()
}

#[test]
fn the_corpus_is_there() {
    assert!(corpus().unwrap().len() >= 60);
}

#[test]
fn every_conversation_is_understood_as_it_says() {
    for (path, conversation) in corpus().unwrap() {
        let record = check(&conversation.events, conversation.end, 1);
        assert_eq!(told(&record), conversation.expected, "{}", path.display());
    }
}

#[test]
fn every_conversation_means_the_same_wherever_it_is_cut_in_two() {
    for (path, conversation) in corpus().unwrap() {
        for (at, event) in conversation.events.iter().enumerate() {
            let Event::Bytes(from, bytes) = event else { continue };
            // The longest are cut where they begin and end.
            let middle = 300.min(bytes.len() / 2);
            for split in (1..middle).chain(bytes.len() - middle..bytes.len()) {
                let (first, second) = bytes.split_at(split);
                let parts = [first, second].map(|part| Event::Bytes(*from, part.to_vec()));
                let mut events = conversation.events.clone();
                events.splice(at..=at, parts);
                let record = play(&events, conversation.end, LIMITS, usize::MAX);
                assert_eq!(told(&record), conversation.expected, "{} at {split}", path.display());
            }
        }
    }
}

#[test]
fn every_conversation_means_the_same_in_any_pieces() {
    for (path, conversation) in corpus().unwrap() {
        for (seed, longest) in (0..20).zip((1..).step_by(3)) {
            let events = attack::cut(&conversation.events, longest, seed);
            let record = play(&events, conversation.end, LIMITS, usize::MAX);
            assert_eq!(told(&record), conversation.expected, "{} seed {seed}", path.display());
        }
    }
}

#[test]
fn what_is_kept_of_a_conversation_is_what_was_sent() {
    for (path, conversation) in corpus().unwrap() {
        let record = play(&attack::cut(&conversation.events, 1, 0), conversation.end, LIMITS, usize::MAX);
        for side in [Side::Client, Side::Server] {
            let sent: Vec<u8> = conversation
                .events
                .iter()
                .filter_map(|event| match event {
                    Event::Bytes(from, bytes) if *from == side => Some(bytes.as_slice()),
                    _ => None,
                })
                .collect::<Vec<_>>()
                .concat();
            let (kept, counted) = bytes_of(side, &record.exchanges);
            assert!(sent.starts_with(&kept), "{} {side:?}", path.display());
            let rest = sent[kept.len()..].trim_ascii_start().len() as u64;
            // Empty lines that nothing follows belong to no exchange.
            assert!(counted == (sent.len() - kept.len()) as u64 || rest == 0, "{} {side:?}", path.display());
            let has_stream =
                record.exchanges.iter().any(|exchange: &Exchange| exchange.request.head.is_empty());
            assert!(counted == 0 || has_stream, "{} {side:?}", path.display());
        }
    }
}
