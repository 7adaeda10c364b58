//! What relays share by Redis: a primary writes, replicas read, metrics go the other way; all of it in the documented
//! keys and streams, so that replicas of the documented relay can follow our primary.

mod intake;
mod layout;
mod lease;
mod link;
mod marks;
mod outlet;
mod primary;
mod reader;
mod replica;

use std::time::Duration;

pub use self::link::Place;
pub(crate) use self::{intake::Intake, outlet::Outlet, primary::Primary, replica::Replica};

/// How long Redis is let pass that cannot be reached, at first and at the most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MOST_PAUSE: Duration = Duration::from_secs(3);

/// For the fuzzers: reads these bytes as everything that Redis may say.
pub(crate) fn attack(bytes: &[u8]) {
    layout::named(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Some(entry) = layout::Entry::parse(text) {
            assert_eq!(layout::Entry::parse(&entry.text()), Some(entry), "what is written is what is read");
        }
        if let Some(head) = layout::Head::parse(text) {
            assert_eq!(layout::Head::parse(&head.text()), Some(head), "what is written is what is read");
        }
        layout::id_of(text);
    }
    let mut parts = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec);
    let lists = layout::Lists { flags: parts.next(), groups: parts.next(), keys: parts.next() };
    lists.read("e", None).ok();
}
