//! Containers of a Docker engine, by its Unix socket.

mod container;

use async_trait::async_trait;
use bollard::{
    Docker as Engine, errors::Error as DockerError, query_parameters::StopContainerOptionsBuilder,
};
use futures::{StreamExt as _, stream};
use tokio::time::Instant;

use super::{Error, Fault, Provider, Seen, Sightings, Status, Stop, Target, options};

/// How many containers are looked at at once.
const AT_ONCE: usize = 8;

/// The provider.
pub struct Docker {
    options: options::Docker,
}

impl Docker {
    /// Of this engine. Nothing is connected yet.
    pub fn new(options: options::Docker) -> Self {
        Self { options }
    }

    /// A connection for one call, in a version that both sides speak: the engine may be another by the next one.
    async fn connect(&self, deadline: Instant) -> Result<Engine, Error> {
        let left = deadline.saturating_duration_since(Instant::now());
        let socket = self.options.socket.to_string_lossy();
        let connected =
            Engine::connect_with_unix(&socket, left.as_secs().max(1), bollard::API_DEFAULT_VERSION);
        let unreachable = |error: DockerError| {
            let error = classify(error);
            let fault = if error.fault == Fault::Denied { Fault::Denied } else { Fault::Unreachable };
            fault.said(format!("{socket}: {}", error.said))
        };
        connected.map_err(unreachable)?.negotiate_version().await.map_err(unreachable)
    }

    async fn see(&self, engine: &Engine, id: &str, target: &Target) -> Result<Seen, Error> {
        match engine.inspect_container(name(id)?, None).await.map_err(classify) {
            Ok(container) => Ok(container::seen(&container, self.options.address, &target.params)),
            Err(error) if error.fault == Fault::Gone => Ok(Seen::of(Status::Missing)),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Provider for Docker {
    async fn start(&self, target: &Target, deadline: Instant) -> Result<(), Error> {
        let engine = self.connect(deadline).await?;
        for id in &target.ids {
            let container = engine.inspect_container(name(id)?, None).await.map_err(classify)?;
            if container::is_paused(&container) {
                engine.unpause_container(id).await.map_err(classify)?;
            } else {
                engine.start_container(id, None).await.map_err(classify)?;
            }
        }
        Ok(())
    }

    async fn stop(&self, target: &Target, how: Stop, deadline: Instant) -> Result<(), Error> {
        let engine = self.connect(deadline).await?;
        let patience = i32::try_from(self.options.stop_timeout.as_secs()).unwrap_or(i32::MAX);
        for id in &target.ids {
            let container = engine.inspect_container(name(id)?, None).await.map_err(classify)?;
            if container::is_paused(&container) {
                continue;
            }
            match how {
                Stop::Shutdown => {
                    let options = StopContainerOptionsBuilder::new().t(patience).build();
                    engine.stop_container(id, Some(options)).await.map_err(classify)?;
                }
                Stop::Hibernate if container::is_up(&container) => {
                    engine.pause_container(id).await.map_err(classify)?;
                }
                Stop::Hibernate => {}
            }
        }
        Ok(())
    }

    async fn status(&self, target: &Target, deadline: Instant) -> Result<Sightings, Error> {
        let engine = &self.connect(deadline).await?;
        let seen = stream::iter(target.ids.clone()).map(|id| async move {
            let seen = self.see(engine, &id, target).await;
            (id, seen.unwrap_or_else(|error| Seen::unknown(&error.to_string())))
        });
        Ok(seen.buffer_unordered(AT_ONCE).collect().await)
    }

    async fn describe(&self, target: &Target, deadline: Instant) -> Result<Sightings, Error> {
        self.status(target, deadline).await
    }
}

/// An id that is a name or an id of a container, and no path.
fn name(id: &str) -> Result<&str, Error> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if id.bytes().all(good) && id.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        Ok(id)
    } else {
        Err(Fault::Gone.said(format!("{id} cannot be the name of a container")))
    }
}

fn classify(error: DockerError) -> Error {
    match error {
        DockerError::DockerResponseServerError { status_code, message } => match status_code {
            404 => Fault::Gone.said(message),
            409 => Fault::Busy.said(message),
            401 | 403 => Fault::Denied.said(message),
            429 => Fault::Throttled { retry_after: None }.said(message),
            503 => Fault::Unreachable.said(message),
            _ => Fault::Other.said(message),
        },
        DockerError::RequestTimeoutError => Fault::Timeout.said("the engine"),
        DockerError::SocketNotFoundError(path) => Fault::Unreachable.said(format!("{path} is not there")),
        error => {
            let said = format!("{:#}", anyhow::Error::from(error));
            let denied = said.to_ascii_lowercase().contains("permission denied");
            if denied { Fault::Denied.said(said) } else { Fault::Interrupted.said(said) }
        }
    }
}

#[cfg(test)]
mod tests;
