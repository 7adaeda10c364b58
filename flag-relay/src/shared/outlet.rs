//! Where a replica passes metrics on: into Redis, from where the primary takes them.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::sync::Mutex;

use super::{
    layout::{HEAD, METRICS},
    lease,
    link::{Connection, Link, Place},
};
use crate::meters::Meters;

/// See the module.
pub(crate) struct Outlet {
    link: Link,
    most: usize,
    meters: Arc<Meters>,
    connection: Mutex<Option<Connection>>,
}

impl Outlet {
    /// Into this Redis.
    ///
    /// # Errors
    /// When it cannot be understood where that is.
    pub(crate) fn new(place: &Place, meters: Arc<Meters>) -> anyhow::Result<Self> {
        let link = Link::new(place)?;
        Ok(Self { link, most: place.most_metrics, meters, connection: Mutex::default() })
    }

    /// Passes a body on.
    ///
    /// # Errors
    /// When Redis cannot be reached, or has no room: then it waits here, on disk.
    pub(crate) async fn post(&self, environment: &str, body: &Value) -> anyhow::Result<()> {
        let mut told = body.clone();
        if let Value::Object(told) = &mut told {
            told.insert("environment_id".to_owned(), environment.into());
        }
        let mut kept = self.connection.lock().await;
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => self.link.connect().await.context("reach Redis")?,
        };
        let waiting: usize = redis::cmd("XLEN").arg(METRICS).query_async(&mut connection).await?;
        let is_ours: bool = redis::cmd("EXISTS").arg(HEAD).query_async(&mut connection).await?;
        // Our primary takes out what it has read; the documented one never does, and the oldest make room.
        if is_ours && waiting >= self.most {
            *kept = Some(connection);
            bail!("{waiting} bodies wait in Redis already");
        }
        lease::add(&mut connection, METRICS, self.most, &told.to_string()).await.context("write to Redis")?;
        self.meters.relays.metrics_out.add(1);
        *kept = Some(connection);
        Ok(())
    }
}
