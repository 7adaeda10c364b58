//! Machines of EC2, by their ids or by their tags.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Filter, Instance};

use crate::{
    access::Place,
    failure::{Failure, Kind},
    protocol::{Status, Targets, Told},
    state,
    target::{Address, Params},
};

/// How many values a filter of EC2 takes.
const MOST_VALUES: usize = 200;

/// Starts all of them with one call.
pub(crate) async fn start(place: &Place, ids: &[String], params: &Params) -> Result<(), Failure> {
    let ids = resolved(place, ids, params).await?;
    place.ec2.start_instances().set_instance_ids(Some(ids)).send().await?;
    Ok(())
}

/// Stops all of them with one call.
pub(crate) async fn stop(
    place: &Place,
    ids: &[String],
    params: &Params,
    hibernate: bool,
) -> Result<(), Failure> {
    let ids = resolved(place, ids, params).await?;
    let stop = place.ec2.stop_instances().set_instance_ids(Some(ids));
    // Left out when it is not wanted: some that stop do not know the word.
    let stop = if hibernate { stop.hibernate(true) } else { stop };
    stop.send().await?;
    Ok(())
}

/// How all of them are, in as few calls as there can be. One that does not exist hides nobody.
pub(crate) async fn look(
    place: &Place,
    ids: &[String],
    params: &Params,
    which: Address,
) -> Result<Targets, Failure> {
    if !params.tags.is_empty() {
        let all = tagged(place, params).await?;
        return Ok(ids.iter().map(|id| (id.clone(), together(&all, which))).collect());
    }
    let mut found = BTreeMap::new();
    for part in ids.chunks(MOST_VALUES) {
        let filter = Filter::builder().name("instance-id").set_values(Some(part.to_vec())).build();
        for instance in described(place, vec![filter]).await? {
            found.insert(instance.instance_id().unwrap_or_default().to_owned(), one(&instance, which));
        }
    }
    let told = |id: &String| found.remove(id).unwrap_or_else(|| Told::of(Status::Missing));
    let mut told = told;
    Ok(ids.iter().map(|id| (id.clone(), told(id))).collect())
}

/// Where these are that run.
pub(crate) async fn addresses(
    place: &Place,
    ids: &[String],
    which: Address,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut addresses = BTreeMap::new();
    for part in ids.chunks(MOST_VALUES) {
        let filter = Filter::builder().name("instance-id").set_values(Some(part.to_vec())).build();
        for instance in described(place, vec![filter]).await? {
            if let (Some(id), Some(address)) = (instance.instance_id(), address(&instance, which)) {
                addresses.insert(id.to_owned(), address.to_owned());
            }
        }
    }
    Ok(addresses)
}

async fn resolved(place: &Place, ids: &[String], params: &Params) -> Result<Vec<String>, Failure> {
    if params.tags.is_empty() {
        return Ok(ids.to_vec());
    }
    let all = tagged(place, params).await?;
    if all.is_empty() {
        return Err(Failure::gone(no_instance(params)));
    }
    Ok(all.iter().filter_map(|instance| instance.instance_id().map(str::to_owned)).collect())
}

fn no_instance(params: &Params) -> String {
    let tags: Vec<_> = params.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("there is no instance with {}", tags.join(" and "))
}

/// All that have all tags, and are not about to vanish.
async fn tagged(place: &Place, params: &Params) -> Result<Vec<Instance>, Failure> {
    let tag =
        |(key, value): (&String, &String)| Filter::builder().name(format!("tag:{key}")).values(value).build();
    let mut filters: Vec<_> = params.tags.iter().map(tag).collect();
    let alive = ["pending", "running", "stopping", "stopped"].map(str::to_owned).to_vec();
    filters.push(Filter::builder().name("instance-state-name").set_values(Some(alive)).build());
    if !params.zones.is_empty() {
        let zones = Some(params.zones.clone());
        filters.push(Filter::builder().name("availability-zone").set_values(zones).build());
    }
    described(place, filters).await
}

async fn described(place: &Place, filters: Vec<Filter>) -> Result<Vec<Instance>, Failure> {
    let asked = place.ec2.describe_instances().set_filters(Some(filters));
    let mut pages = asked.into_paginator().send();
    let mut all = Vec::new();
    while let Some(page) = pages.next().await {
        let reservations = page?.reservations.unwrap_or_default();
        all.extend(reservations.into_iter().flat_map(|one| one.instances.unwrap_or_default()));
    }
    Ok(all)
}

fn word(instance: &Instance) -> &str {
    instance.state().and_then(|state| state.name()).map_or("in no state", |name| name.as_str())
}

fn address(instance: &Instance, which: Address) -> Option<&str> {
    let address = match which {
        Address::Private => instance.private_ip_address(),
        Address::Public => instance.public_ip_address(),
    };
    address.filter(|address| !address.is_empty())
}

fn one(instance: &Instance, which: Address) -> Told {
    match state::instance(word(instance)) {
        Some(status) => {
            let addresses = address(instance, which).map(str::to_owned).into_iter().collect();
            Told { addresses, ..Told::of(status) }
        }
        None => Told::failed(Failure::new(Kind::Other, format!("EC2 says that it is {}", word(instance)))),
    }
}

/// Several as one. Only those that run have an address that leads anywhere.
fn together(all: &[Instance], which: Address) -> Told {
    if all.is_empty() {
        return Told::of(Status::Missing);
    }
    let each = || all.iter().filter_map(|instance| state::instance(word(instance)));
    let Some(status) = state::together(each()) else {
        let told: Vec<_> = all
            .iter()
            .map(|instance| format!("{} is {}", instance.instance_id().unwrap_or_default(), word(instance)))
            .collect();
        return Told::failed(Failure::new(Kind::Other, told.join(", ")));
    };
    let up = all.iter().filter(|instance| word(instance) == "running");
    let addresses = up.filter_map(|instance| address(instance, which).map(str::to_owned)).collect();
    Told { addresses, ..Told::of(status) }
}
