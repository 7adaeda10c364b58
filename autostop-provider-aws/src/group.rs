//! Auto Scaling groups: to no machine at all, and back to as many as there were.

use aws_sdk_autoscaling::types::{AutoScalingGroup, LifecycleState, Tag};

use crate::{
    access::Place,
    failure::Failure,
    instance,
    protocol::{Status, Targets, Told},
    state,
    target::{self, Address, BEFORE, Before, Params},
};

/// Asks for as many machines as the rule says, or as there were before the stop.
pub(crate) async fn start(place: &Place, ids: &[String], params: &Params) -> Result<(), Failure> {
    for (id, group) in found(place, ids).await? {
        let group = group.ok_or_else(|| no_group(&id))?;
        if wanted(&group) > 0 {
            continue;
        }
        let told = &params.scale_group;
        let tag = group.tags().iter().find(|tag| tag.key() == Some(BEFORE)).and_then(|tag| tag.value());
        let before = tag.and_then(Before::read);
        let min = told.min.or(before.map(|before| before.min)).unwrap_or_default();
        let desired = told.desired.or(before.map(|before| before.desired)).unwrap_or(1).max(min).max(1);
        let update = place.groups.update_auto_scaling_group().auto_scaling_group_name(name(&id));
        let update = update.min_size(size(min)).desired_capacity(size(desired));
        update.set_max_size(told.max.map(size)).send().await?;
    }
    Ok(())
}

/// Asks for no machine, once it is written down how many there were.
pub(crate) async fn stop(place: &Place, ids: &[String]) -> Result<(), Failure> {
    for (id, group) in found(place, ids).await? {
        let group = group.ok_or_else(|| no_group(&id))?;
        if wanted(&group) == 0 && group.min_size().unwrap_or_default() == 0 {
            continue;
        }
        let min = group.min_size().and_then(|min| u32::try_from(min).ok()).unwrap_or_default();
        let before = Before { desired: wanted(&group).max(min), min };
        let tag = Tag::builder()
            .resource_id(name(&id))
            .resource_type("auto-scaling-group")
            .key(BEFORE)
            .value(before.written())
            .propagate_at_launch(false)
            .build();
        place.groups.create_or_update_tags().tags(tag).send().await?;
        let update = place.groups.update_auto_scaling_group().auto_scaling_group_name(name(&id));
        update.min_size(0).desired_capacity(0).send().await?;
    }
    Ok(())
}

/// How they are; where, if that is wanted.
pub(crate) async fn look(place: &Place, ids: &[String], which: Option<Address>) -> Result<Targets, Failure> {
    let mut targets = Targets::new();
    for (id, group) in found(place, ids).await? {
        let Some(group) = group else {
            targets.insert(id, Told::of(Status::Missing));
            continue;
        };
        let ready = group.instances().iter().filter(|one| {
            one.lifecycle_state() == Some(&LifecycleState::InService)
                && one.health_status() != Some("Unhealthy")
        });
        let ready: Vec<_> = ready.filter_map(|one| one.instance_id().map(str::to_owned)).collect();
        let mut told = Told::of(state::counted(wanted(&group), count(&ready), count(group.instances())));
        if let Some(which) = which.filter(|_| !ready.is_empty()) {
            told.addresses = instance::addresses(place, &ready, which).await?.into_values().collect();
        }
        targets.insert(id, told);
    }
    Ok(targets)
}

async fn found(place: &Place, ids: &[String]) -> Result<Vec<(String, Option<AutoScalingGroup>)>, Failure> {
    let names = Some(ids.iter().map(|id| name(id).to_owned()).collect());
    let asked = place.groups.describe_auto_scaling_groups().set_auto_scaling_group_names(names);
    let mut pages = asked.into_paginator().send();
    let mut groups = Vec::new();
    while let Some(page) = pages.next().await {
        groups.extend(page?.auto_scaling_groups.unwrap_or_default());
    }
    let of =
        |id: &String| groups.iter().find(|group| group.auto_scaling_group_name() == Some(name(id))).cloned();
    Ok(ids.iter().map(|id| (id.clone(), of(id))).collect())
}

/// A group goes by its name, and by its ARN.
fn name(id: &str) -> &str {
    let resource = target::arn(id).map_or(id, |(_, resource)| resource);
    resource.rsplit_once("autoScalingGroupName/").map_or(resource, |(_, name)| name)
}

fn wanted(group: &AutoScalingGroup) -> u32 {
    group.desired_capacity().and_then(|desired| u32::try_from(desired).ok()).unwrap_or_default()
}

fn size(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn count<T>(all: &[T]) -> u32 {
    u32::try_from(all.len()).unwrap_or(u32::MAX)
}

fn no_group(id: &str) -> Failure {
    Failure::gone(format!("there is no Auto Scaling group {id}"))
}
