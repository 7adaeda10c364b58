//! Units of a systemd, over D-Bus (org.freedesktop.systemd1(5)).

use async_trait::async_trait;
use tokio::{sync::Mutex, time::Instant};
use zbus::{Connection, OwnedObjectPath, connection};

use super::{Error, Fault, Provider, Seen, Sightings, Status, Stop, Target, options, text};

const SERVICE: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// The provider.
pub struct Systemd {
    options: options::Systemd,
    /// Open as long as it works.
    bus: Mutex<Option<Connection>>,
}

/// One unit as `ListUnitsByNames` tells it: name, description, load state, active state, sub state, followed unit,
/// path, job and its type and path.
type Unit = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

impl Systemd {
    /// On this bus. Nothing is connected yet.
    pub fn new(options: options::Systemd) -> Self {
        Self { options, bus: Mutex::new(None) }
    }

    async fn connect(&self) -> Result<Connection, Error> {
        let mut bus = self.bus.lock().await;
        if let Some(bus) = &*bus {
            return Ok(bus.clone());
        }
        let builder = match &self.options.bus {
            Some(address) => connection::Builder::address(address.as_str()),
            None => connection::Builder::system(),
        };
        let unreachable = |error: zbus::Error| Fault::Unreachable.said(format!("the bus: {error}"));
        let opened = builder.build().await.map_err(unreachable)?;
        Ok(bus.insert(opened).clone())
    }

    async fn call<A, R>(&self, method: &str, arguments: &A) -> Result<R, Error>
    where
        A: serde::Serialize + zbus::zvariant::DynamicType + Sync,
        R: for<'d> zbus::zvariant::DynamicDeserialize<'d>,
    {
        let bus = self.connect().await?;
        let called = bus.call_method(Some(SERVICE), PATH, Some(MANAGER), method, arguments).await;
        let answer = match called {
            Ok(answer) => answer,
            Err(error) => {
                let error = classify(&error);
                if error.fault == Fault::Interrupted {
                    *self.bus.lock().await = None;
                }
                return Err(error);
            }
        };
        answer
            .body()
            .deserialize()
            .map_err(|error| Fault::Other.said(format!("{method} answered what it should not: {error}")))
    }

    fn seen(&self, unit: &Unit) -> Seen {
        let (load, active) = (unit.2.as_str(), unit.3.as_str());
        if load == "not-found" {
            return Seen::of(Status::Missing);
        }
        let status = match active {
            "active" | "reloading" | "refreshing" => Status::Running,
            "inactive" | "failed" => Status::Stopped,
            "activating" => Status::Starting,
            "deactivating" => Status::Stopping,
            other => return Seen::unknown(&format!("systemd calls it {other}")),
        };
        let address = self.options.address.as_deref().unwrap_or("127.0.0.1");
        let reason = (active == "failed").then(|| text::clean(&format!("{} has failed", unit.0)));
        Seen { status, addresses: text::address(address).into_iter().collect(), reason }
    }
}

/// The name of a unit, as `systemctl` completes it.
fn unit(id: &str) -> String {
    if id.contains('.') { id.to_owned() } else { format!("{id}.service") }
}

#[async_trait]
impl Provider for Systemd {
    async fn start(&self, target: &Target, _: Instant) -> Result<(), Error> {
        for id in &target.ids {
            let _: OwnedObjectPath = self.call("StartUnit", &(unit(id), "replace")).await?;
        }
        Ok(())
    }

    async fn stop(&self, target: &Target, how: Stop, _: Instant) -> Result<(), Error> {
        if how == Stop::Hibernate {
            return Err(Fault::Unsupported.said("a unit can only be stopped"));
        }
        for id in &target.ids {
            let _: OwnedObjectPath = self.call("StopUnit", &(unit(id), "replace")).await?;
        }
        Ok(())
    }

    async fn status(&self, target: &Target, _: Instant) -> Result<Sightings, Error> {
        let names: Vec<_> = target.ids.iter().map(|id| unit(id)).collect();
        let units: Vec<Unit> = self.call("ListUnitsByNames", &(&names,)).await?;
        if units.len() != names.len() {
            return Err(Fault::Other.said("systemd answered for other units than it was asked for"));
        }
        // They come in the order of the question; a unit that was asked for by an alias has another name here.
        Ok(target.ids.iter().zip(&units).map(|(id, unit)| (id.clone(), self.seen(unit))).collect())
    }

    async fn describe(&self, target: &Target, deadline: Instant) -> Result<Sightings, Error> {
        self.status(target, deadline).await
    }
}

fn classify(error: &zbus::Error) -> Error {
    use zbus::fdo;
    let said = error.to_string();
    match error {
        zbus::Error::MethodError(name, told, _) => {
            let told = told.as_deref().unwrap_or_default();
            match name.as_str().rsplit('.').next().unwrap_or_default() {
                "NoSuchUnit" | "LoadFailed" => Fault::Gone.said(told),
                "UnitMasked" | "OnlyByDependency" => Fault::Denied.said(told),
                "TransactionIsDestructive" | "ShuttingDown" => Fault::Busy.said(told),
                name => Fault::Other.said(format!("{name}: {told}")),
            }
        }
        zbus::Error::FDO(told) => match &**told {
            fdo::Error::AccessDenied(_)
            | fdo::Error::AuthFailed(_)
            | fdo::Error::InteractiveAuthorizationRequired(_) => Fault::Denied.said(said),
            fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_) => Fault::Unreachable.said(said),
            fdo::Error::InvalidArgs(_) => Fault::Gone.said(said),
            fdo::Error::LimitsExceeded(_) => Fault::Throttled { retry_after: None }.said(said),
            // The bus says so when a service leaves it before it has answered.
            fdo::Error::NoReply(_) | fdo::Error::Disconnected(_) => Fault::Interrupted.said(said),
            fdo::Error::TimedOut(_) | fdo::Error::Timeout(_) => Fault::Timeout.said(said),
            _ => Fault::Other.said(said),
        },
        zbus::Error::InputOutput(_) => Fault::Interrupted.said(said),
        _ => Fault::Other.said(said),
    }
}
