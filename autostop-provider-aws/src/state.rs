//! Pure. Amazon's words for how something is, in those of the protocol.

use std::collections::BTreeSet;

use crate::protocol::Status;

/// A machine of EC2. `None` for a word that is not known.
pub fn instance(word: &str) -> Option<Status> {
    Some(match word {
        "pending" => Status::Starting,
        "running" => Status::Running,
        "stopping" => Status::Stopping,
        "stopped" => Status::Stopped,
        "shutting-down" | "terminated" => Status::Missing,
        _ => return None,
    })
}

/// A database, or a cluster of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// It stays as it is until somebody changes it.
    Settled(Status),
    /// It takes no order before it has settled.
    Changing(Status),
    /// It does not work, and no order mends that.
    Broken,
}

impl Database {
    /// From the word of RDS.
    pub fn of(word: &str) -> Self {
        match word {
            "available" | "storage-full" => Self::Settled(Status::Running),
            "stopped" => Self::Settled(Status::Stopped),
            "stopping" => Self::Changing(Status::Stopping),
            "starting" | "started" | "creating" | "rebooting" | "restarting" | "recovering" | "renaming"
            | "upgrading" | "maintenance" => Self::Changing(Status::Starting),
            "deleting" | "deleted" | "delete-precheck" => Self::Changing(Status::Missing),
            word if word.starts_with("failed")
                || word.starts_with("in")
                || word.starts_with("restore-error") =>
            {
                Self::Broken
            }
            // Backups, changes of its size or its settings: it answers meanwhile.
            _ => Self::Changing(Status::Running),
        }
    }

    /// In the words of the protocol.
    pub fn status(self) -> Option<Status> {
        match self {
            Self::Settled(status) | Self::Changing(status) => Some(status),
            Self::Broken => None,
        }
    }
}

/// Something of which there are to be so many, and are so many: ready, and altogether.
pub fn counted(wanted: u32, ready: u32, all: u32) -> Status {
    match (wanted, all) {
        (0, 0) => Status::Stopped,
        (0, _) => Status::Stopping,
        _ if ready >= wanted => Status::Running,
        _ => Status::Starting,
    }
}

/// The status of several that are started and stopped as one; `None` when some are up, some down, and nothing is on
/// its way.
pub fn together(each: impl IntoIterator<Item = Status>) -> Option<Status> {
    let each: BTreeSet<_> = each.into_iter().collect();
    let moving = (each.contains(&Status::Starting), each.contains(&Status::Stopping));
    match moving {
        (true, true) => None,
        (true, false) => Some(Status::Starting),
        (false, true) => Some(Status::Stopping),
        (false, false) => each.first().copied().filter(|_| each.len() == 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_as_their_words_say() {
        assert_eq!(instance("pending"), Some(Status::Starting));
        assert_eq!(instance("shutting-down"), Some(Status::Missing));
        assert_eq!(instance("dreaming"), None);
    }

    #[test]
    fn databases_take_orders_only_when_they_have_settled() {
        for (word, expected) in [
            ("available", Database::Settled(Status::Running)),
            ("stopped", Database::Settled(Status::Stopped)),
            ("stopping", Database::Changing(Status::Stopping)),
            ("starting", Database::Changing(Status::Starting)),
            ("backing-up", Database::Changing(Status::Running)),
            ("configuring-log-exports", Database::Changing(Status::Running)),
            ("deleting", Database::Changing(Status::Missing)),
            ("failed", Database::Broken),
            ("incompatible-network", Database::Broken),
            ("inaccessible-encryption-credentials", Database::Broken),
            ("insufficient-capacity", Database::Broken),
        ] {
            assert_eq!(Database::of(word), expected, "{word}");
        }
    }

    #[test]
    fn counts_tell_the_way_too() {
        for ((wanted, ready, all), expected) in [
            ((0, 0, 0), Status::Stopped),
            ((0, 0, 1), Status::Stopping),
            ((0, 2, 2), Status::Stopping),
            ((2, 0, 0), Status::Starting),
            ((2, 1, 2), Status::Starting),
            ((2, 2, 2), Status::Running),
            ((2, 3, 3), Status::Running),
        ] {
            assert_eq!(counted(wanted, ready, all), expected, "{wanted} {ready} {all}");
        }
    }

    #[test]
    fn several_are_what_all_of_them_are_or_where_they_are_going() {
        use Status::{Running, Starting, Stopped, Stopping};
        assert_eq!(together([Running, Running]), Some(Running));
        assert_eq!(together([Stopped, Starting]), Some(Starting));
        assert_eq!(together([Running, Stopping]), Some(Stopping));
        assert_eq!(together([Starting, Stopping]), None);
        assert_eq!(together([Running, Stopped]), None);
        assert_eq!(together([]), None);
    }
}
