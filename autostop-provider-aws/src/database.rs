//! Databases of RDS, and clusters of them.

use std::collections::BTreeMap;

use aws_sdk_rds::types::Filter;

use crate::{
    access::Place,
    failure::{Failure, Kind},
    protocol::{Status, Targets, Told},
    state::Database,
    target,
};

/// What is wanted of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// That it is up.
    Start,
    /// That it is down.
    Stop,
}

/// One database or cluster, as it was seen.
#[derive(Clone)]
struct Seen {
    is_cluster: bool,
    /// The cluster that a database is a part of.
    part_of: Option<String>,
    word: String,
    address: Option<String>,
}

/// Starts or stops each of them. RDS refuses what is up already, and whatever changes: it is looked at first, and
/// again when it refuses.
pub(crate) async fn order(place: &Place, ids: &[String], order: Order) -> Result<(), Failure> {
    let seen = found(place, ids).await?;
    for id in ids {
        let seen = seen.get(id).ok_or_else(|| no_database(id))?;
        if let Some(cluster) = &seen.part_of {
            let told = format!(
                "{id} is a part of the cluster {cluster}, which stops and starts as a whole: name that"
            );
            return Err(Failure::unsupported(told));
        }
        if meets(order, &seen.word) {
            continue;
        }
        if let Err(failure) = called(place, name(id), seen.is_cluster, order).await {
            let again = match failure.kind {
                Kind::Busy => found(place, std::slice::from_ref(id)).await?.remove(id),
                _ => None,
            };
            match again.map(|again| (meets(order, &again.word), Database::of(&again.word))) {
                Some((true, _)) => {}
                // It has settled where it can be ordered, and is refused all the same: no waiting mends that.
                Some((_, Database::Settled(_) | Database::Broken)) => {
                    return Err(Failure::unsupported(failure.message));
                }
                _ => return Err(failure),
            }
        }
    }
    Ok(())
}

/// How they are and where.
pub(crate) async fn look(place: &Place, ids: &[String]) -> Result<Targets, Failure> {
    let seen = found(place, ids).await?;
    let told = |id: &String| match seen.get(id) {
        None => Told::of(Status::Missing),
        Some(seen) => match Database::of(&seen.word).status() {
            Some(status) => Told { addresses: seen.address.iter().cloned().collect(), ..Told::of(status) },
            None => Told::failed(Failure::new(Kind::Other, format!("RDS says that it is {}", seen.word))),
        },
    };
    Ok(ids.iter().map(|id| (id.clone(), told(id))).collect())
}

/// Whether it is where it was wanted, or on its way there.
fn meets(order: Order, word: &str) -> bool {
    match Database::of(word) {
        Database::Settled(status) => status == order.end(),
        Database::Changing(status) => status == order.way(),
        Database::Broken => false,
    }
}

impl Order {
    fn end(self) -> Status {
        if self == Self::Start { Status::Running } else { Status::Stopped }
    }

    fn way(self) -> Status {
        if self == Self::Start { Status::Starting } else { Status::Stopping }
    }
}

async fn called(place: &Place, name: &str, is_cluster: bool, order: Order) -> Result<(), Failure> {
    let rds = &place.rds;
    match (is_cluster, order) {
        (false, Order::Start) => drop(rds.start_db_instance().db_instance_identifier(name).send().await?),
        (false, Order::Stop) => drop(rds.stop_db_instance().db_instance_identifier(name).send().await?),
        (true, Order::Start) => drop(rds.start_db_cluster().db_cluster_identifier(name).send().await?),
        (true, Order::Stop) => drop(rds.stop_db_cluster().db_cluster_identifier(name).send().await?),
    }
    Ok(())
}

/// Looks for databases first, and for clusters among what is no database. What is nowhere is left out.
async fn found(place: &Place, ids: &[String]) -> Result<BTreeMap<String, Seen>, Failure> {
    let names: Vec<_> = ids.iter().map(|id| (id, name(id))).collect();
    let (clusters, databases): (Vec<_>, Vec<_>) = names.into_iter().partition(|(id, _)| names_cluster(id));
    let mut seen = BTreeMap::new();
    if !databases.is_empty() {
        let all = instances(place, databases.iter().map(|(_, name)| *name)).await?;
        seen.extend(databases.iter().filter_map(|(id, name)| Some(((*id).clone(), all.get(*name)?.clone()))));
    }
    let rest: Vec<_> =
        databases.into_iter().filter(|(id, _)| !seen.contains_key(*id)).chain(clusters).collect();
    if !rest.is_empty() {
        let all = self::clusters(place, rest.iter().map(|(_, name)| *name)).await?;
        seen.extend(rest.iter().filter_map(|(id, name)| Some(((*id).clone(), all.get(*name)?.clone()))));
    }
    Ok(seen)
}

fn filter<'a>(key: &str, names: impl Iterator<Item = &'a str>) -> Option<Vec<Filter>> {
    let values = names.map(str::to_owned).collect();
    Some(vec![Filter::builder().name(key).set_values(Some(values)).build()])
}

async fn instances(
    place: &Place,
    names: impl Iterator<Item = &str>,
) -> Result<BTreeMap<String, Seen>, Failure> {
    let asked = place.rds.describe_db_instances().set_filters(filter("db-instance-id", names));
    let mut pages = asked.into_paginator().send();
    let mut all = BTreeMap::new();
    while let Some(page) = pages.next().await {
        let page = page.map(|page| page.db_instances);
        gather(&mut all, page, |one| {
            let address = one.endpoint().and_then(|endpoint| endpoint.address()).map(str::to_owned);
            let part_of = one.db_cluster_identifier().map(str::to_owned);
            let seen = Seen { is_cluster: false, part_of, word: word(one.db_instance_status()), address };
            (one.db_instance_identifier, seen)
        })?;
    }
    Ok(all)
}

async fn clusters(
    place: &Place,
    names: impl Iterator<Item = &str>,
) -> Result<BTreeMap<String, Seen>, Failure> {
    let asked = place.rds.describe_db_clusters().set_filters(filter("db-cluster-id", names));
    let mut pages = asked.into_paginator().send();
    let mut all = BTreeMap::new();
    while let Some(page) = pages.next().await {
        let page = page.map(|page| page.db_clusters);
        gather(&mut all, page, |one| {
            let seen =
                Seen { is_cluster: true, part_of: None, word: word(one.status()), address: one.endpoint };
            (one.db_cluster_identifier, seen)
        })?;
    }
    Ok(all)
}

/// All of one page, by their names. That there is none of them is no failure, and is the last page.
fn gather<One, Error>(
    all: &mut BTreeMap<String, Seen>,
    page: Result<Option<Vec<One>>, Error>,
    seen: impl Fn(One) -> (Option<String>, Seen),
) -> Result<(), Failure>
where
    Failure: From<Error>,
{
    match page.map_err(Failure::from) {
        Ok(page) => {
            let named = page.unwrap_or_default().into_iter().map(seen);
            all.extend(named.map(|(name, seen)| (name.unwrap_or_default(), seen)));
            Ok(())
        }
        Err(failure) if failure.kind == Kind::Gone => Ok(()),
        Err(failure) => Err(failure),
    }
}

fn word(told: Option<&str>) -> String {
    told.unwrap_or("in no state").to_owned()
}

/// A database goes by its name, and by its ARN.
fn name(id: &str) -> &str {
    target::arn(id).map_or(id, |(_, resource)| resource.split_once(':').map_or(resource, |(_, name)| name))
}

fn names_cluster(id: &str) -> bool {
    target::arn(id).is_some_and(|(_, resource)| resource.starts_with("cluster:"))
}

fn no_database(id: &str) -> Failure {
    Failure::gone(format!("there is no database and no cluster {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_names_what_it_is_for() {
        let (one, all) = ("arn:aws:rds:eu-west-1:1:db:shop", "arn:aws:rds:eu-west-1:1:cluster:shop");
        assert_eq!((name(one), name(all), name("shop")), ("shop", "shop", "shop"));
        assert_eq!((names_cluster(one), names_cluster(all), names_cluster("shop")), (false, true, false));
    }

    #[test]
    fn an_order_is_met_by_what_is_there_or_on_its_way() {
        for (order, word, expected) in [
            (Order::Start, "available", true),
            (Order::Start, "starting", true),
            (Order::Start, "stopping", false),
            (Order::Start, "stopped", false),
            (Order::Stop, "stopped", true),
            (Order::Stop, "stopping", true),
            (Order::Stop, "available", false),
            (Order::Stop, "backing-up", false),
            (Order::Start, "failed", false),
        ] {
            assert_eq!(meets(order, word), expected, "{order:?} {word}");
        }
    }
}
