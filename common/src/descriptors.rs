//! How many file descriptors a process may have, and for how many connections they suffice.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Kept free for what is not a connection of a client: lookups of names, health checks, the log.
const SPARE: u64 = 32;

/// Takes as many as the system lets a process have, and returns how many connections can then be
/// open at once when each takes `each` descriptors. At least one; what is open now counts as needed for good.
///
/// More connections than that had better wait to be accepted: one that is accepted and finds no
/// descriptor for its other side is lost to the client.
pub fn room_for_connections(each: u64) -> usize {
    raise_limit();
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    let open = fs::read_dir("/proc/self/fd").map_or(SPARE, |open| open.count() as u64);
    usize::try_from(room(limit, open, each)).unwrap_or(usize::MAX)
}

fn room(limit: u64, open: u64, each: u64) -> u64 {
    (limit.saturating_sub(open + SPARE) / each).max(1)
}

/// Takes as many as the system lets a process have.
pub fn raise_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) }
    });
    if let Err(error) = raised {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::room;

    #[test]
    fn connections_have_what_is_neither_open_nor_spare() {
        assert_eq!(room(1024, 20, 2), (1024 - 20 - 32) / 2);
        assert_eq!(room(40, 20, 2), 1, "a proxy that serves nobody is no use");
        assert_eq!(room(u64::MAX, 20, 2), (u64::MAX - 52) / 2);
    }
}
