//! Passes on what SDKs posted as evaluated: added up, kept on disk until the service has it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use common::{backoff::Backoff, disk, drain::Drain};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::{task::spawn_blocking, time};

use super::client::{Client, Error};
use crate::{
    api::{Api, now},
    shared,
    usage::{Count, Use},
};

/// In the data folder.
const FOLDER: &str = "metrics";
/// How much waits for a service that is away; then the oldest goes.
const MOST_BYTES: u64 = 64 << 20;
/// Entries of one body.
const MOST_ENTRIES: usize = 2000;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MOST_PAUSE: Duration = Duration::from_secs(60);

/// What waits to be passed on, on disk.
pub(crate) struct Spool {
    api: Arc<Api>,
    folder: PathBuf,
    number: AtomicU64,
    /// Whoever is told that everything is on disk must not be told so while another is still writing it.
    writing: Mutex<()>,
}

/// Passes metrics on.
pub(crate) struct Forwarder {
    /// What waits.
    pub(crate) spool: Arc<Spool>,
    outlet: Outlet,
    every: Duration,
}

/// Where metrics go.
pub(crate) enum Outlet {
    /// To the flag service.
    Service(Arc<Client>),
    /// To the primary.
    Primary(Box<shared::Outlet>),
}

impl Forwarder {
    /// Keeps what waits in the data folder.
    ///
    /// # Errors
    /// When a folder cannot be made there.
    pub(crate) fn new(
        api: Arc<Api>,
        outlet: Outlet,
        data_dir: &Path,
        every: Duration,
    ) -> anyhow::Result<Self> {
        let folder = data_dir.join(FOLDER);
        disk::make_folder(&folder).context("make the folder of metrics that wait")?;
        Ok(Self {
            spool: Arc::new(Spool { api, folder, number: AtomicU64::new(0), writing: Mutex::default() }),
            outlet,
            every,
        })
    }

    /// Passes on from time to time until the drain starts.
    pub(crate) async fn run(self, drain: Drain) {
        let mut backoff = Backoff::new(FIRST_PAUSE, MOST_PAUSE);
        let mut pause = self.every;
        loop {
            tokio::select! {
                () = drain.started() => return,
                () = time::sleep(pause) => {}
            }
            let spool = Arc::clone(&self.spool);
            if spawn_blocking(move || spool.keep()).await.is_err() {
                return drain.ask();
            }
            let sent = tokio::select! {
                () = drain.started() => return,
                sent = self.send() => sent,
            };
            pause = match sent {
                Ok(()) => {
                    backoff.reset();
                    self.every
                }
                Err(error) => {
                    // The source says that the service is away.
                    tracing::debug!("metrics wait: {error:#}");
                    backoff.wait(fastrand::f64()).max(self.every.min(MOST_PAUSE))
                }
            };
        }
    }

    async fn send(&self) -> anyhow::Result<()> {
        for (path, _) in self.spool.waiting()? {
            let kept: Option<Value> = serde_json::from_slice(&fs::read(&path)?).ok();
            let environment = kept.as_ref().and_then(|kept| kept.get("environment")?.as_str());
            let body = kept.as_ref().and_then(|kept| kept.get("body"));
            if let Some((environment, body)) = environment.zip(body) {
                match &self.outlet {
                    Outlet::Service(client) => self.tell(client, environment, body).await?,
                    Outlet::Primary(outlet) => {
                        outlet.post(environment, body).await?;
                        self.spool.api.meters.forwarded(environment, "false");
                    }
                }
            }
            fs::remove_file(&path).context("remove metrics that were passed on")?;
        }
        Ok(())
    }

    async fn tell(&self, client: &Client, environment: &str, body: &Value) -> anyhow::Result<()> {
        let meters = &self.spool.api.meters;
        match client.post(environment, serde_json::to_vec(body)?).await {
            Ok(()) => meters.forwarded(environment, "false"),
            // Told again, it would be refused again.
            Err(Error::Answered { status, .. }) if is_final(status) => {
                meters.forwarded(environment, "true");
                tracing::warn!(environment, %status, "the flag service refuses metrics: they are dropped");
            }
            Err(error) => return Err(anyhow::anyhow!(error.told())),
        }
        Ok(())
    }
}

impl Spool {
    /// Writes what was posted since the last time; whether all of it is on disk now.
    pub(crate) fn keep(&self) -> bool {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unsent = self.api.usage.take_unsent();
        let kept = self.write(&mut unsent);
        // What could not be written is written next time.
        self.api.usage.put_back(unsent);
        match kept {
            Ok(()) => true,
            Err(error) => {
                tracing::error!("what SDKs evaluated cannot be kept now: {error:#}");
                false
            }
        }
    }

    /// Takes out what was written.
    fn write(&self, unsent: &mut Vec<(Use, Count)>) -> anyhow::Result<()> {
        let now_ms = now().as_millis();
        unsent.sort_by(|(one, _), (other, _)| other.environment.cmp(&one.environment));
        while let Some((used, _)) = unsent.last() {
            let environment = Arc::clone(&used.environment);
            let start = unsent.iter().rposition(|(used, _)| used.environment != environment);
            let start = start.map_or(0, |at| at + 1).max(unsent.len().saturating_sub(MOST_ENTRIES));
            let data: Vec<Value> =
                unsent.iter().skip(start).map(|(used, count)| datum(used, count)).collect();
            let number = self.number.fetch_add(1, Ordering::Relaxed);
            let path = self.folder.join(format!("{now_ms:020}-{number:010}.json"));
            let body = json!({ "metricsData": data, "targetData": [] });
            let kept = json!({ "environment": &*environment, "body": body });
            disk::replace(&path, &serde_json::to_vec(&kept)?).context("write metrics")?;
            unsent.truncate(start);
        }
        let waiting = self.waiting()?;
        let mut bytes: u64 = waiting.iter().map(|(_, bytes)| bytes).sum();
        for (path, size) in waiting {
            if bytes <= MOST_BYTES {
                break;
            }
            fs::remove_file(&path).context("drop the oldest metrics")?;
            bytes -= size;
            self.api.meters.forwarded("", "dropped");
            tracing::warn!("metrics have waited too long: the oldest are dropped");
        }
        Ok(())
    }

    /// What waits, the oldest first.
    fn waiting(&self) -> io::Result<Vec<(PathBuf, u64)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|ending| ending == "json") {
                found.push((entry.path(), entry.metadata()?.len()));
            }
        }
        found.sort();
        Ok(found)
    }
}

/// Whether the same would be answered again; of an environment that is gone, nobody wants to know any more.
fn is_final(status: StatusCode) -> bool {
    use StatusCode as Code;
    matches!(
        status,
        Code::BAD_REQUEST | Code::NOT_FOUND | Code::PAYLOAD_TOO_LARGE | Code::UNPROCESSABLE_ENTITY
    )
}

fn datum(used: &Use, count: &Count) -> Value {
    let pair = |key: &str, value: &str| json!({ "key": key, "value": value });
    json!({
        "timestamp": count.last_ms,
        "count": count.evaluations,
        "metricsType": "FFMETRICS",
        "attributes": [
            pair("featureIdentifier", &used.flag),
            pair("featureName", &used.flag),
            pair("variationIdentifier", &used.variation),
            pair("SDK_TYPE", &used.kind),
            pair("SDK_LANGUAGE", &used.language),
            pair("SDK_VERSION", &used.version),
            pair("target", "global"),
        ],
    })
}
