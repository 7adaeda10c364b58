//! Starts whatever flags come from, and what goes on from here.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use common::{config::Secret, drain::Drain};
use tokio::{
    sync::{Notify, oneshot, watch},
    task::spawn_blocking,
    time,
};

use crate::{
    api::Api,
    config::{Config, Source},
    shared::{self, Intake, Place, Primary, Replica},
    source::{
        Sink,
        directory::Directory,
        service::{self, Client, Follower, Forwarder, Outlet, Service, Spool, Targets},
        web::Web,
    },
};

/// How long the first reading is waited for: an SDK that came before would be told that its key is unknown.
/// Whatever it is, what was kept is served then.
const FIRST_READ: Duration = Duration::from_secs(10);
/// How long a primary that has nothing waits for what Redis has.
const FROM_REDIS: Duration = Duration::from_secs(5);

/// Follows the source until the drain starts; returns once everything was read, or could not be, with what waits to
/// be passed on.
pub(super) async fn follow(
    config: &Config,
    api: &Arc<Api>,
    drain: &Drain,
) -> anyhow::Result<Option<Arc<Spool>>> {
    let sink = Sink {
        store: Arc::clone(&api.store),
        standing: Arc::clone(&api.standing),
        look: Arc::new(Notify::new()),
        drain: drain.clone(),
    };
    match (&config.source, &config.redis) {
        (Source::Directory(folder), _) => {
            let (folder, meters) = (folder.clone(), Arc::clone(&api.meters));
            let directory = spawn_blocking(move || {
                let mut directory = Directory::new(folder, sink, meters);
                directory.read(std::time::Instant::now());
                directory
            });
            drain.spawn(directory.await.context("read the folder")?.run(drain.clone()));
            Ok(None)
        }
        (Source::Web(addresses), redis) => {
            // There is no proxy key, and its inventory is called so.
            let (_, key) = watch::channel(Secret::from(""));
            let primary = redis.as_ref().map(|place| lead(place, &sink, api, key)).transpose()?;
            let (web, first) = Web::new(addresses.clone(), sink, Arc::clone(&api.meters))?;
            drain.spawn(web.run(drain.clone()));
            wait(first).await;
            if let Some(primary) = primary {
                drain.spawn(primary.run(drain.clone()));
            }
            Ok(None)
        }
        (Source::Service(service), redis) => {
            follow_service(config, service, redis.as_ref(), sink, api, drain).await
        }
        (Source::Replica, Some(redis)) => follow_primary(config, redis, sink, api, drain).await,
        (Source::Replica, None) => anyhow::bail!("READ_REPLICA wants REDIS_ADDRESS"),
    }
}

async fn follow_service(
    config: &Config,
    service: &Service,
    redis: Option<&Place>,
    sink: Sink,
    api: &Arc<Api>,
    drain: &Drain,
) -> anyhow::Result<Option<Arc<Spool>>> {
    let (told, key) = service::key(service).context("read the proxy key")?;
    drain.spawn(service::follow(service.key_file.clone(), told, drain.clone()));
    let client = Arc::new(Client::new(service, key.clone(), Arc::clone(&api.meters))?);
    let spool = pass_on(config, Outlet::Service(Arc::clone(&client)), api, drain)?;
    if config.forward_targets {
        // Nobody else sets it.
        api.targets.set(Targets::new(Arc::clone(&client), drain)).ok();
    }
    let primary = redis.map(|place| lead(place, &sink, api, key.clone())).transpose()?;
    if let Some(primary) = &primary
        && sink.store.world().environments.is_empty()
    {
        // Whatever the flag service says replaces it.
        if let Ok(Ok(updates)) = time::timeout(FROM_REDIS, primary.read()).await {
            sink.store.apply(updates);
        }
    }
    let (follower, first) = Follower::new(client, sink, Arc::clone(&api.meters), key);
    drain.spawn(follower.run(drain.clone()));
    wait(first).await;
    if let Some(primary) = primary {
        if let Some(spool) = &spool {
            let intake = Intake::new(&primary, Arc::clone(api), Arc::clone(spool));
            drain.spawn(intake.run(drain.clone()));
        }
        drain.spawn(primary.run(drain.clone()));
    }
    Ok(spool)
}

fn lead(place: &Place, sink: &Sink, api: &Arc<Api>, key: watch::Receiver<Secret>) -> anyhow::Result<Primary> {
    Primary::new(place, sink.clone(), Arc::clone(&api.meters), key).context("understand REDIS_ADDRESS")
}

async fn follow_primary(
    config: &Config,
    place: &Place,
    sink: Sink,
    api: &Arc<Api>,
    drain: &Drain,
) -> anyhow::Result<Option<Arc<Spool>>> {
    let outlet = shared::Outlet::new(place, Arc::clone(&api.meters)).context("understand REDIS_ADDRESS")?;
    let spool = pass_on(config, Outlet::Primary(Box::new(outlet)), api, drain)?;
    let (replica, first) = Replica::new(place, sink, Arc::clone(&api.meters), &config.data_dir)?;
    drain.spawn(replica.run(drain.clone()));
    wait(first).await;
    Ok(spool)
}

fn pass_on(
    config: &Config,
    outlet: Outlet,
    api: &Arc<Api>,
    drain: &Drain,
) -> anyhow::Result<Option<Arc<Spool>>> {
    let Some(every) = config.metric_post else { return Ok(None) };
    let forwarder = Forwarder::new(Arc::clone(api), outlet, &config.data_dir, every)?;
    let spool = Arc::clone(&forwarder.spool);
    drain.spawn(forwarder.run(drain.clone()));
    Ok(Some(spool))
}

async fn wait(first: oneshot::Receiver<()>) {
    time::timeout(FIRST_READ, first).await.ok();
}
