//! What a primary writes under its lease: everything at first, then what changed, and again what somebody else wrote.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use redis::RedisResult;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    super::{
        layout::{self, Mark, Written},
        lease::{Held, Write},
        link::Connection,
        reader,
    },
    Primary, Term,
};
use crate::{environment::Environment, store::World};

/// Environments whose documents are looked at with every renewal.
const MOST_SEEN: usize = 50;

impl Primary {
    /// Writes everything, whatever is there, and removes what is not.
    pub(super) async fn take_over(&self, connection: &mut Connection, term: &mut Term) -> RedisResult<Held> {
        let begun = Instant::now();
        let found = reader::ids(connection).await;
        self.meters.relays.scanned.note(begun.elapsed(), found.is_err());
        let mut there: BTreeSet<String> = found?.into_iter().collect();
        there.extend(reader::index(connection).await?.1.into_keys());
        let world = Arc::clone(&self.sink.store.world());
        for id in &there {
            let told = reader::lists(connection, id).await?.read(id, None).ok();
            let old = told.and_then(layout::built).map(Arc::new);
            let held = match world.environments.get(id.as_str()) {
                Some(new) => self.write(connection, term, old.as_deref(), new, true).await?,
                None => self.remove(connection, term, id, old.as_deref()).await?,
            };
            if held == Held::No {
                return Ok(Held::No);
            }
        }
        for (id, new) in &world.environments {
            let is_missing = !there.contains(&**id);
            if is_missing && self.write(connection, term, None, new, true).await? == Held::No {
                return Ok(Held::No);
            }
        }
        // What older primaries listed, some of them with their key in clear.
        let own = layout::inventory_key(self.key.borrow().expose());
        let inventories: Vec<String> =
            redis::cmd("KEYS").arg("key-*-inventory").query_async(connection).await?;
        for key in inventories.iter().filter(|key| **key != own) {
            redis::cmd("DEL").arg(key).query_async::<i64>(connection).await?;
        }
        term.is_whole = true;
        self.write_inventory(connection, term).await
    }

    /// Writes what changed since the last time.
    pub(super) async fn write_changes(
        &self,
        connection: &mut Connection,
        term: &mut Term,
    ) -> RedisResult<Held> {
        let world: Arc<World> = Arc::clone(&self.sink.store.world());
        let gone: Vec<_> =
            term.written.keys().filter(|id| !world.environments.contains_key(*id)).cloned().collect();
        for id in gone {
            let old = term.written.get(&id).cloned();
            if self.remove(connection, term, &id, old.as_deref()).await? == Held::No {
                return Ok(Held::No);
            }
        }
        for (id, new) in &world.environments {
            let old = term.written.get(id).cloned();
            let is_another = old.as_ref().is_none_or(|old| !Arc::ptr_eq(old, new));
            if is_another && self.write(connection, term, old.as_deref(), new, false).await? == Held::No {
                return Ok(Held::No);
            }
        }
        Ok(Held::Yes)
    }

    /// Writes one environment; everything of it, or only what is not as in `old`.
    async fn write(
        &self,
        connection: &mut Connection,
        term: &mut Term,
        old: Option<&Environment>,
        new: &Arc<Environment>,
        is_all: bool,
    ) -> RedisResult<Held> {
        let head = term.next();
        let Written { mut documents, entry } = Written::new(new, head.mark);
        let names: BTreeSet<String> = documents.keys().cloned().collect();
        let before = old.map(|old| Written::new(old, Mark::default()).documents).unwrap_or_default();
        let removals: Vec<String> = before.keys().filter(|key| !names.contains(*key)).cloned().collect();
        if !is_all {
            documents.retain(|key, value| before.get(key) != Some(value));
        }
        let events = layout::events(old, new);
        let count = events.len();
        let (environment, entry) = (&*new.id, Some(entry.text()));
        let write = Write { head, environment, entry, puts: documents, removals, events };
        let held = self.send(connection, term, write, count).await?;
        if held == Held::Yes {
            term.written.insert(Arc::clone(&new.id), Arc::clone(new));
            let others = term.assets.insert(Arc::clone(&new.id), names.clone());
            term.is_inventory_old |= others.is_none_or(|others| others != names);
        }
        Ok(held)
    }

    /// Writes again what is not there as it was written: somebody removed it, or wrote it without the lease.
    pub(super) async fn mend(&self, connection: &mut Connection, term: &mut Term) -> RedisResult<Held> {
        if term.unseen.is_empty() {
            term.unseen = term.written.keys().cloned().collect();
        }
        let some = term.unseen.len().saturating_sub(MOST_SEEN);
        for id in term.unseen.split_off(some) {
            let Some(environment) = term.written.get(&id).cloned() else { continue };
            let entry = Written::new(&environment, Mark::default()).entry;
            let read = reader::lists(connection, &environment.id).await?.read(&environment.id, Some(&entry));
            if read.is_ok() {
                continue;
            }
            tracing::info!(environment = &*environment.id, "somebody else wrote it: it is written again");
            if self.write(connection, term, Some(&environment), &environment, true).await? == Held::No {
                return Ok(Held::No);
            }
        }
        Ok(Held::Yes)
    }

    async fn remove(
        &self,
        connection: &mut Connection,
        term: &mut Term,
        id: &str,
        old: Option<&Environment>,
    ) -> RedisResult<Held> {
        let head = term.next();
        let mut removals: BTreeSet<String> = old
            .map(|old| Written::new(old, Mark::default()).documents.into_keys().collect())
            .unwrap_or_default();
        for key in [layout::flags_key(id), layout::groups_key(id)] {
            removals.insert(format!("{key}-latest"));
            removals.insert(key);
        }
        removals.insert(layout::keys_key(id));
        let events = vec![layout::account("environmentsRemoved", id)];
        let (puts, removals) = (BTreeMap::new(), removals.into_iter().collect());
        let write = Write { head, environment: id, entry: None, puts, removals, events };
        let held = self.send(connection, term, write, 1).await?;
        if held == Held::Yes {
            term.written.remove(id);
            term.is_inventory_old |= term.assets.remove(id).is_some();
        }
        Ok(held)
    }

    pub(super) async fn write_inventory(
        &self,
        connection: &mut Connection,
        term: &mut Term,
    ) -> RedisResult<Held> {
        let names = term.assets.values().flatten();
        let all: serde_json::Map<String, Value> = names.map(|name| (name.clone(), "".into())).collect();
        let key = layout::inventory_key(self.key.borrow().expose());
        let puts = BTreeMap::from([(key, Value::Object(all).to_string().into())]);
        let write = Write { head: term.next(), puts, ..Write::default() };
        term.is_inventory_old = false;
        self.send(connection, term, write, 0).await
    }

    async fn send(
        &self,
        connection: &mut Connection,
        term: &mut Term,
        write: Write<'_>,
        events: usize,
    ) -> RedisResult<Held> {
        let begun = Instant::now();
        let kind =
            if write.puts.is_empty() { &self.meters.relays.removed } else { &self.meters.relays.written };
        let sent = self.scripts.write(connection, &term.lease, write).await;
        kind.note(begun.elapsed(), sent.is_err());
        if let Ok(Held::Yes) = sent {
            self.meters.relays.to_replicas.add(events);
            term.there = term.number;
        }
        sent
    }
}
