//! What the fuzzers call with bytes of their choice; the ordinary tests call it too.

use common::relay::Side;

use crate::{
    hold::postgres::{self, Answer},
    journal,
    plane::{
        proxied::{Introduction, introduction},
        transaction::Transaction,
    },
    provider::plugin,
    rule::{Surroundings, check, from_json, parse, written},
};

/// A file of the journal: whatever is read lies within it, and torn anywhere it holds a part of the same.
pub fn journal(bytes: &[u8]) {
    journal::attack(bytes);
}

/// The start of a connection by the PROXY protocol: what is known of a part stays true of the whole.
pub fn proxied(bytes: &[u8]) {
    let whole = introduction(bytes);
    if let Introduction::Header(length, _) = whole {
        assert!(length <= bytes.len(), "longer than what came");
        let header = bytes.get(..length).unwrap_or_default();
        assert_eq!(introduction(header), whole, "what follows a header changes nothing of it");
    }
    for length in 0..bytes.len().min(300) {
        match introduction(bytes.get(..length).unwrap_or_default()) {
            Introduction::Incomplete => {}
            told => assert_eq!(told, whole, "known after {length} bytes"),
        }
    }
}

/// A conversation in PostgreSQL's protocol, whole and byte by byte: the same transaction is open. The first byte
/// says how much of the rest the client says.
pub fn postgres(bytes: &[u8]) {
    let (split, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let (client, server) = rest.split_at(usize::from(*split).min(rest.len()));
    let (mut whole, mut single) = (Transaction::default(), Transaction::default());
    for (side, said) in [(Side::Client, client), (Side::Server, server)] {
        whole.bytes(side, said);
        said.iter().for_each(|byte| single.bytes(side, std::slice::from_ref(byte)));
    }
    assert_eq!(whole.is_open(), single.is_open(), "cut up it is something else");
    let known = postgres::answer(client);
    if let Answer::NoEncryption(length) = known {
        assert!(length <= client.len(), "longer than what came");
    }
    if client.len() >= postgres::OPENING {
        assert_ne!(known, Answer::Unknown, "enough was said");
    }
}

/// A line of a plug-in: whatever it says is bounded and harmless, and no secret gets into what is printed.
pub fn plugin(bytes: &[u8]) {
    plugin::attack(&String::from_utf8_lossy(bytes));
}

/// A rule that came as JSON: refused with a reason, or the same when it is written to a file and read again.
pub fn given(bytes: &[u8]) {
    let Ok(told) = serde_json::from_slice(bytes) else { return };
    match from_json("it", told) {
        Err(problem) => assert!(!problem.message.is_empty(), "refused without a reason"),
        Ok(rule) => {
            let text = written(&rule);
            assert_eq!(parse("it", &text), Ok(rule), "{text}");
        }
    }
}

/// A rule file: refused in words that name the file, or good, and then it can be told to a plane.
pub fn rule(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let around = Surroundings { providers: vec!["lab".to_owned()], tcp_ports: 56000..=56009 };
    let problems = match parse("a.toml", &text) {
        Err(problem) => vec![problem],
        Ok(file) => match check(&[("a.toml".to_owned(), file)], &around) {
            Err(problems) => problems,
            Ok(rules) => {
                let now = jiff::Timestamp::UNIX_EPOCH;
                for rule in rules.iter() {
                    rule.target(&crate::ports::Ports::default());
                    rule.schedules.desired(now);
                    rule.schedules.next_change(now);
                }
                return;
            }
        },
    };
    assert!(!problems.is_empty(), "refused without a reason");
    assert!(problems.iter().all(|problem| problem.to_string().starts_with("a.toml: ")));
}
