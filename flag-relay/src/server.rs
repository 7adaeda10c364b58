//! Brings everything together: reads what was kept, starts the source, serves until the stop.

use std::sync::Arc;

use anyhow::Context as _;
use common::{
    admin::{self, Readiness},
    daemon::VERSION,
    drain::Drain,
    listen, notify,
};

use crate::{
    config::Config,
    source::{Sink, standing::Standing},
    store::Store,
};

/// Runs the relay until the drain is over.
///
/// # Errors
/// When the data folder cannot be used or a port cannot be listened on.
pub async fn serve(config: Config, drain: Drain) -> anyhow::Result<()> {
    tracing::info!(version = VERSION, "starting flag-relay");
    let sink = Sink {
        store: Arc::new(Store::default()),
        standing: Arc::new(Standing::new(0)),
        drain: drain.clone(),
    };
    let readiness = Readiness::default();
    readiness.wait_for("the source");
    let status = listen::bind(config.status).context("serve the status; STATUS_ADDR changes where")?;
    let until = drain.clone();
    drain.spawn(async move {
        if let Err(error) = admin::serve(status, admin::health(readiness, until.clone()), until).await {
            tracing::error!(%error, "the status is no longer served");
        }
    });
    notify::tell(notify::READY);
    drain.started().await;
    drop(sink);
    drain.idle().await;
    Ok(())
}
