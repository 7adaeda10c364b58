//! Reads environments out of Redis.

use std::collections::BTreeMap;

use redis::RedisResult;

use super::{
    layout::{Entry, HEAD, Head, INDEX, KEYS_PATTERN, Lists, flags_key, groups_key, id_of, keys_key},
    link::Connection,
};

/// The last write, and the index as it was then.
pub(super) async fn index(
    connection: &mut Connection,
) -> RedisResult<(Option<Head>, BTreeMap<String, Entry>)> {
    // At once: a Redis that is emptied between the two would say that everything is gone.
    let mut both = redis::pipe();
    both.atomic().cmd("GET").arg(HEAD).cmd("HGETALL").arg(INDEX);
    let (head, told): (Option<String>, BTreeMap<String, String>) = both.query_async(connection).await?;
    let entries = told.into_iter().filter_map(|(id, entry)| Some((id, Entry::parse(&entry)?)));
    Ok((head.as_deref().and_then(Head::parse), entries.collect()))
}

/// The lists of an environment.
pub(super) async fn lists(connection: &mut Connection, id: &str) -> RedisResult<Lists> {
    let mut command = redis::cmd("MGET");
    command.arg(flags_key(id)).arg(groups_key(id)).arg(keys_key(id));
    let (flags, groups, keys) = command.query_async(connection).await?;
    Ok(Lists { flags, groups, keys })
}

/// Every environment of which there are documents, whoever wrote them.
pub(super) async fn ids(connection: &mut Connection) -> RedisResult<Vec<String>> {
    let keys: Vec<String> = redis::cmd("KEYS").arg(KEYS_PATTERN).query_async(connection).await?;
    Ok(keys.iter().filter_map(|key| id_of(key)).map(str::to_owned).collect())
}

/// One key.
pub(super) async fn one(connection: &mut Connection, key: &str) -> RedisResult<Option<String>> {
    redis::cmd("GET").arg(key).query_async(connection).await
}
