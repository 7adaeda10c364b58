//! Who writes: one primary at a time, under a lease with a number that only grows. Redis itself refuses what is
//! written under an older one.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use redis::{RedisResult, Script};

use super::{
    layout::{EVENTS, FENCE, FIELD, HEAD, Head, INDEX, LEASE, MOST_EVENTS, Mark},
    link::Connection,
};

/// How long a lease lasts that is not renewed.
pub(super) const LASTS: Duration = Duration::from_secs(5);

/// Takes the lease if nobody has it. The number is at least the time, so that it grows through a loss of everything.
const TAKE: &str = r"
if redis.call('EXISTS', KEYS[1]) == 1 then return false end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
local fence = string.format('%.0f', math.max(now, last + 1, tonumber(ARGV[3]) + 1))
redis.call('SET', KEYS[2], fence)
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. fence, 'PX', ARGV[2])
return fence";

/// Renews it, and says which write was the last.
const RENEW: &str = r"
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('GET', KEYS[2]) or ''";

const RESIGN: &str = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0";

/// Writes, or refuses: the head, an entry of the index (or its end), and whatever documents and events come with it.
const WRITE: &str = r"
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[3], ARGV[3])
if ARGV[4] ~= '' then
  if ARGV[5] == '' then redis.call('HDEL', KEYS[2], ARGV[4]) else redis.call('HSET', KEYS[2], ARGV[4], ARGV[5]) end
end
local at = 8
for i = 1, tonumber(ARGV[6]) do
  redis.call('SET', KEYS[3 + i], ARGV[at])
  at = at + 1
end
for i = 4 + tonumber(ARGV[6]), #KEYS - 1 do redis.call('DEL', KEYS[i]) end
for i = at, #ARGV do redis.call('XADD', KEYS[#KEYS], 'MAXLEN', ARGV[7], '*', 'event', ARGV[i]) end
return 1";

/// What can be done under a lease.
pub(super) struct Scripts {
    take: Script,
    renew: Script,
    resign: Script,
    write: Script,
}

impl Default for Scripts {
    fn default() -> Self {
        let script = |text: &str| Script::new(text.trim_start());
        Self { take: script(TAKE), renew: script(RENEW), resign: script(RESIGN), write: script(WRITE) }
    }
}

/// A lease.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    token: String,
    pub(super) fence: u64,
}

/// What is written in one go.
#[derive(Debug, Default)]
pub(super) struct Write<'a> {
    pub(super) head: Head,
    /// The environment; empty when it is about none.
    pub(super) environment: &'a str,
    /// Its entry in the index; `None` when it is gone.
    pub(super) entry: Option<String>,
    pub(super) puts: BTreeMap<String, Bytes>,
    pub(super) removals: Vec<String>,
    pub(super) events: Vec<String>,
}

/// Whether the lease was still ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Yes,
    No,
}

impl Scripts {
    /// Takes the lease, unless somebody has it; its number is greater than `last`.
    pub(super) async fn take(
        &self,
        connection: &mut Connection,
        own: &str,
        last: u64,
    ) -> RedisResult<Option<Lease>> {
        let mut call = self.take.key(LEASE);
        call.key(FENCE).arg(own).arg(milliseconds()).arg(last);
        let fence: Option<String> = call.invoke_async(connection).await?;
        let fence = fence.and_then(|fence| fence.parse().ok());
        Ok(fence.map(|fence| Lease { token: format!("{own} {fence}"), fence }))
    }

    /// Renews it; `None` when it is lost. Else the mark of the last write.
    pub(super) async fn renew(
        &self,
        connection: &mut Connection,
        lease: &Lease,
    ) -> RedisResult<Option<Option<Mark>>> {
        let mut call = self.renew.key(LEASE);
        call.key(HEAD).arg(&lease.token).arg(milliseconds());
        let head: Option<String> = call.invoke_async(connection).await?;
        Ok(head.map(|head| Head::parse(&head).map(|head| head.mark)))
    }

    /// Gives it back, so that nobody has to wait.
    pub(super) async fn resign(&self, connection: &mut Connection, lease: &Lease) -> RedisResult<()> {
        self.resign.key(LEASE).arg(&lease.token).invoke_async::<i64>(connection).await.map(drop)
    }

    /// Writes everything at once, or nothing when the lease is lost. In a cluster documents come before the index,
    /// and events after it: who reads in between finds sums that do not fit.
    pub(super) async fn write(
        &self,
        connection: &mut Connection,
        lease: &Lease,
        mut write: Write<'_>,
    ) -> RedisResult<Held> {
        let is_cluster = matches!(connection, Connection::Cluster(_));
        let mut events = Vec::new();
        if is_cluster {
            if self.renew(connection, lease).await?.is_none() {
                return Ok(Held::No);
            }
            for (key, value) in std::mem::take(&mut write.puts) {
                redis::cmd("SET").arg(key).arg(&value[..]).query_async::<()>(connection).await?;
            }
            for key in std::mem::take(&mut write.removals) {
                redis::cmd("DEL").arg(key).query_async::<()>(connection).await?;
            }
            events = std::mem::take(&mut write.events);
        }
        let mut call = self.write.key(LEASE);
        call.key(INDEX).key(HEAD);
        call.arg(&lease.token).arg(milliseconds()).arg(write.head.text()).arg(write.environment);
        call.arg(write.entry.unwrap_or_default()).arg(write.puts.len()).arg(MOST_EVENTS);
        for (key, value) in &write.puts {
            call.key(key).arg(&value[..]);
        }
        for key in &write.removals {
            call.key(key);
        }
        // The last key is the stream; in a cluster, where it is elsewhere, one that stands for nothing.
        call.key(if is_cluster { LEASE } else { EVENTS });
        for event in &write.events {
            call.arg(event);
        }
        if call.invoke_async::<i64>(connection).await? == 0 {
            return Ok(Held::No);
        }
        for event in events {
            add(connection, EVENTS, MOST_EVENTS, &event).await?;
        }
        Ok(Held::Yes)
    }
}

/// Adds an entry to a stream.
pub(super) async fn add(
    connection: &mut Connection,
    stream: &str,
    most: usize,
    entry: &str,
) -> RedisResult<()> {
    let mut command = redis::cmd("XADD");
    command.arg(stream).arg("MAXLEN").arg(most).arg("*").arg(FIELD).arg(entry);
    command.query_async::<String>(connection).await.map(drop)
}

fn milliseconds() -> u64 {
    u64::try_from(LASTS.as_millis()).unwrap_or(u64::MAX)
}
