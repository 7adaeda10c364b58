//! The proxy key out of a file that may change: a rotation needs no restart.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use common::{config::Secret, drain::Drain};
use tokio::{sync::watch, task::spawn_blocking, time};

use super::Service;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The first line of the file; `None` when there is nothing in it.
fn read(path: &Path) -> std::io::Result<Option<Secret>> {
    let text = fs::read_to_string(path)?;
    Ok(text.lines().next().map(str::trim).filter(|key| !key.is_empty()).map(Secret::from))
}

/// The proxy key to begin with, and where those that follow are told: what is in the file goes before what was set.
///
/// # Errors
/// When there is none.
pub(crate) fn key(service: &Service) -> anyhow::Result<(watch::Sender<Secret>, watch::Receiver<Secret>)> {
    let file = service.key_file.as_deref();
    let found =
        file.map(|path| read(path).with_context(|| format!("read {}", path.display()))).transpose()?;
    let key = found.flatten().or_else(|| service.key.clone()).context("there is no key in the file")?;
    Ok(watch::channel(key))
}

/// Follows the file, if there is one, until the drain starts. A file that is away or empty leaves the key as it was.
pub(crate) async fn follow(path: Option<PathBuf>, key: watch::Sender<Secret>, drain: Drain) {
    let Some(path) = path else { return drain.started().await };
    loop {
        tokio::select! {
            () = drain.started() => return,
            () = time::sleep(LOOK) => {}
        }
        let path = path.clone();
        if let Ok(Ok(Some(told))) = spawn_blocking(move || read(&path)).await {
            key.send_if_modified(|key| {
                let is_another = *key != told;
                *key = told;
                is_another
            });
        }
    }
}
