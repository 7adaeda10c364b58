//! Services of ECS: to no task at all, and back to as many as there were.

use aws_sdk_ecs::types::{DesiredStatus, Service, ServiceField, Tag, Task};

use crate::{
    access::Place,
    failure::Failure,
    instance,
    protocol::{Status, Targets, Told},
    state,
    target::{Address, BEFORE, Before, Params},
};

/// How many services ECS takes in one question.
const MOST_SERVICES: usize = 10;
/// How many tasks it takes in one.
const MOST_TASKS: usize = 100;

/// Asks for as many tasks as the rule says, or as there were before the stop.
pub(crate) async fn start(place: &Place, ids: &[String], params: &Params) -> Result<(), Failure> {
    for (id, service) in found(place, ids, params).await? {
        let service = service.ok_or_else(|| no_service(&id, params))?;
        if service.desired_count() > 0 {
            continue;
        }
        let tag = service.tags().iter().find(|tag| tag.key() == Some(BEFORE)).and_then(Tag::value);
        let before = tag.and_then(Before::read).map(|before| before.desired);
        let count = params.container.task_count.or(before).unwrap_or(1).max(1);
        scale(place, &id, params, count).await?;
    }
    Ok(())
}

/// Asks for no task, once it is written down how many there were, unless the rule says it.
pub(crate) async fn stop(place: &Place, ids: &[String], params: &Params) -> Result<(), Failure> {
    for (id, service) in found(place, ids, params).await? {
        let service = service.ok_or_else(|| no_service(&id, params))?;
        let desired = whole(service.desired_count());
        if desired == 0 {
            continue;
        }
        if params.container.task_count.is_none() {
            let value = Before { desired, min: 0 }.written();
            let tag = Tag::builder().key(BEFORE).value(value).build();
            let arn = service.service_arn().unwrap_or_default();
            place.ecs.tag_resource().resource_arn(arn).tags(tag).send().await.map_err(|error| {
                let mut failure = Failure::from(error);
                failure.message +=
                    "; with container.task_count in the rule nothing has to be written onto the service";
                failure
            })?;
        }
        scale(place, &id, params, 0).await?;
    }
    Ok(())
}

/// How they are; where, if that is wanted.
pub(crate) async fn look(
    place: &Place,
    ids: &[String],
    params: &Params,
    which: Option<Address>,
) -> Result<Targets, Failure> {
    let mut targets = Targets::new();
    for (id, service) in found(place, ids, params).await? {
        let Some(service) = service else {
            targets.insert(id, Told::of(Status::Missing));
            continue;
        };
        let (running, pending) = (whole(service.running_count()), whole(service.pending_count()));
        let status = state::counted(whole(service.desired_count()), running, running.saturating_add(pending));
        let mut told = Told::of(status);
        if let Some(which) = which.filter(|_| running > 0) {
            told.addresses = addresses(place, &id, params, which).await?;
        }
        targets.insert(id, told);
    }
    Ok(targets)
}

async fn scale(place: &Place, id: &str, params: &Params, count: u32) -> Result<(), Failure> {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    let update = place.ecs.update_service().set_cluster(cluster(params)).service(id);
    update.desired_count(count).send().await?;
    Ok(())
}

async fn found(
    place: &Place,
    ids: &[String],
    params: &Params,
) -> Result<Vec<(String, Option<Service>)>, Failure> {
    let mut services = Vec::new();
    for part in ids.chunks(MOST_SERVICES) {
        let asked = place.ecs.describe_services().set_cluster(cluster(params));
        let asked = asked.set_services(Some(part.to_vec())).include(ServiceField::Tags);
        services.extend(asked.send().await?.services.unwrap_or_default());
    }
    // One that was deleted is told of for a while.
    services.retain(|service| service.status() != Some("INACTIVE"));
    let of = |id: &String| {
        let named = |one: &&Service| one.service_name() == Some(id) || one.service_arn() == Some(id);
        services.iter().find(named).cloned()
    };
    Ok(ids.iter().map(|id| (id.clone(), of(id))).collect())
}

/// Of every task that runs: in a network of its own, its address there; else that of its machine, with the port that it was given.
async fn addresses(place: &Place, id: &str, params: &Params, which: Address) -> Result<Vec<String>, Failure> {
    let listed = place.ecs.list_tasks().set_cluster(cluster(params)).service_name(id);
    let listed = listed.desired_status(DesiredStatus::Running).send().await?.task_arns.unwrap_or_default();
    let mut addresses = Vec::new();
    for part in listed.chunks(MOST_TASKS) {
        let told = place.ecs.describe_tasks().set_cluster(cluster(params)).set_tasks(Some(part.to_vec()));
        for task in told.send().await?.tasks.unwrap_or_default() {
            if task.last_status() != Some("RUNNING") {
                continue;
            }
            let own: Vec<_> = own_addresses(&task).collect();
            if own.is_empty() {
                addresses.extend(on_machine(place, &task, params, which).await?);
            }
            addresses.extend(own);
        }
    }
    Ok(addresses)
}

fn own_addresses(task: &Task) -> impl Iterator<Item = String> {
    let interfaces = task.containers().first().map(|first| first.network_interfaces()).unwrap_or_default();
    interfaces.iter().filter_map(|one| one.private_ipv4_address().map(str::to_owned))
}

async fn on_machine(
    place: &Place,
    task: &Task,
    params: &Params,
    which: Address,
) -> Result<Option<String>, Failure> {
    let Some(machine) = task.container_instance_arn() else { return Ok(None) };
    let told = place.ecs.describe_container_instances().set_cluster(cluster(params));
    let told = told.container_instances(machine).send().await?.container_instances.unwrap_or_default();
    let Some(machine) = told.first().and_then(|one| one.ec2_instance_id()) else { return Ok(None) };
    let address = instance::addresses(place, &[machine.to_owned()], which).await?.remove(machine);
    let mut bindings = task.containers().iter().flat_map(|container| container.network_bindings());
    let port = bindings.find_map(|binding| binding.host_port());
    Ok(address.map(|address| match port {
        Some(port) => format!("{address}:{port}"),
        None => address,
    }))
}

fn cluster(params: &Params) -> Option<String> {
    Some(params.container.cluster.clone()).filter(|cluster| !cluster.is_empty())
}

fn whole(number: i32) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

fn no_service(id: &str, params: &Params) -> Failure {
    let cluster = cluster(params).unwrap_or_else(|| "default".to_owned());
    Failure::gone(format!("there is no service {id} in the cluster {cluster}"))
}
