//! Metrics of replicas, read by the primary that has the lease: an entry leaves Redis once it is on our disk.

use std::{sync::Arc, time::Duration};

use common::{backoff::Backoff, drain::Drain};
use redis::{RedisResult, streams::StreamReadReply};
use serde::Deserialize;
use tokio::{sync::watch, task::spawn_blocking, time};

use super::{
    FIRST_PAUSE, MOST_PAUSE,
    layout::{FIELD, METRICS},
    link::{Connection, Link},
    primary::Primary,
};
use crate::{
    api::{Api, now},
    shape::or_default,
    source::service::Spool,
    usage::Posted,
};

/// One group with one reader, whoever it is: what the last one read and did not finish is read again.
const GROUP: &str = "wayside";
const READER: &str = "primary";
const MOST_READ: usize = 100;
const WAIT: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Intake {
    link: Arc<Link>,
    leads: watch::Receiver<bool>,
    api: Arc<Api>,
    spool: Arc<Spool>,
}

/// An entry, as the documented relay writes it.
#[derive(Deserialize)]
struct Told {
    #[serde(default, deserialize_with = "or_default")]
    environment_id: String,
    #[serde(flatten)]
    posted: Posted,
}

impl Intake {
    /// Reads for this primary into this spool.
    pub(crate) fn new(primary: &Primary, api: Arc<Api>, spool: Arc<Spool>) -> Self {
        let (link, leads) = primary.shared();
        Self { link, leads, api, spool }
    }

    /// Reads while the primary has the lease, until the drain starts.
    pub(crate) async fn run(mut self, drain: Drain) {
        let mut backoff = Backoff::new(FIRST_PAUSE, MOST_PAUSE);
        loop {
            let led = tokio::select! {
                () = drain.started() => return,
                led = self.leads.wait_for(|leads| *leads) => led.is_ok(),
            };
            if !led {
                return;
            }
            let read = tokio::select! {
                () = drain.started() => return,
                read = self.session(&mut backoff) => read,
            };
            if let Err(error) = read {
                tracing::debug!(%error, "metrics of replicas wait");
                tokio::select! {
                    () = drain.started() => return,
                    () = time::sleep(backoff.wait(fastrand::f64())) => {}
                }
            }
        }
    }

    async fn session(&self, backoff: &mut Backoff) -> RedisResult<()> {
        let mut connection = self.link.connect().await?;
        let mut command = redis::cmd("XGROUP");
        command.arg("CREATE").arg(METRICS).arg(GROUP).arg("0").arg("MKSTREAM");
        match command.query_async::<()>(&mut connection).await {
            Err(error) if error.code() != Some("BUSYGROUP") => return Err(error),
            _ => {}
        }
        self.api.meters.relays.metrics_in.begin();
        let mut is_left_over = true;
        while *self.leads.borrow() {
            let from = if is_left_over { "0" } else { ">" };
            let read = self.take(&mut connection, from).await?;
            backoff.reset();
            is_left_over &= read > 0;
        }
        Ok(())
    }

    /// Takes what there is, and says how much it was.
    async fn take(&self, connection: &mut Connection, from: &str) -> RedisResult<usize> {
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(GROUP).arg(READER).arg("COUNT").arg(MOST_READ);
        if from == ">" {
            command.arg("BLOCK").arg(u64::try_from(WAIT.as_millis()).unwrap_or(u64::MAX));
        }
        command.arg("STREAMS").arg(METRICS).arg(from);
        let told: Option<StreamReadReply> = command.query_async(connection).await?;
        let entries: Vec<_> =
            told.into_iter().flat_map(|told| told.keys).flat_map(|stream| stream.ids).collect();
        if entries.is_empty() {
            return Ok(0);
        }
        let now_ms = u64::try_from(now().as_millis()).unwrap_or(u64::MAX);
        for entry in &entries {
            self.api.meters.relays.metrics_in.add(1);
            // What was trimmed meanwhile has no field any more, and what is no metrics is let go.
            let told =
                entry.get::<Vec<u8>>(FIELD).and_then(|told| serde_json::from_slice::<Told>(&told).ok());
            if let Some(Told { environment_id, posted }) = told.filter(|told| !told.environment_id.is_empty())
            {
                self.api.usage.add(&Arc::from(environment_id), &posted, now_ms);
            }
        }
        let spool = Arc::clone(&self.spool);
        if !spawn_blocking(move || spool.keep()).await.unwrap_or(false) {
            return Err((redis::ErrorKind::Io, "metrics cannot be kept").into());
        }
        let ids: Vec<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
        redis::cmd("XACK").arg(METRICS).arg(GROUP).arg(&ids).query_async::<i64>(connection).await?;
        redis::cmd("XDEL").arg(METRICS).arg(&ids).query_async::<i64>(connection).await?;
        Ok(entries.len())
    }
}
