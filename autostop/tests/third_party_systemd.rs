//! The systemd provider on a bus of its own (Debian's `dbus`), with a mock of systemd on it.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex as Lock},
    time::Duration,
};

use autostop::provider::{Fault, Provider as _, Status, Stop, Target, options, systemd::Systemd};
use tokio::time::Instant;
use zbus::{Connection, ObjectPath, OwnedObjectPath, connection, fdo, interface};

const SERVICE: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";

/// One unit as `ListUnitsByNames` tells it.
type Unit = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// A bus for one test.
struct Bus {
    daemon: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.daemon.kill().ok();
        self.daemon.wait().ok();
    }
}

impl Bus {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("bus");
        let config = format!(
            r#"<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>
            <policy context="default"><allow send_destination="*"/><allow own="*"/><allow eavesdrop="true"/>
            </policy></busconfig>"#,
            socket.display()
        );
        let file = folder.path().join("bus.conf");
        std::fs::write(&file, config).unwrap();
        let daemon = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", file.display()))
            .args(["--nofork", "--print-address"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut daemon =
            daemon.unwrap_or_else(|error| panic!("dbus-daemon: {error}; `cargo xtask test` installs it"));
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let address = address.split(',').next().unwrap().trim().to_owned();
        Self { daemon, address, _folder: folder }
    }

    fn provider(&self) -> Systemd {
        Systemd::new(options::Systemd { bus: Some(self.address.clone()), address: None })
    }

    async fn mock(&self) -> (Connection, Units) {
        let units = Units::default();
        let builder = connection::Builder::address(self.address.as_str()).name(SERVICE);
        let builder = builder.serve_at(PATH, Mock(units.clone()));
        (builder.build().await.unwrap(), units)
    }
}

type Units = Arc<Lock<BTreeMap<String, &'static str>>>;

struct Mock(Units);

fn path(path: &str) -> OwnedObjectPath {
    ObjectPath::try_from(path.to_owned()).unwrap().into()
}

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.systemd1")]
enum Refused {
    #[zbus(error)]
    ZBus(zbus::Error),
    NoSuchUnit(String),
    UnitMasked(String),
    AccessDenied(String),
}

impl Mock {
    async fn job(&self, name: &str, mode: &str, to: &'static str) -> Result<OwnedObjectPath, Refused> {
        assert_eq!(mode, "replace");
        match name {
            "hang.service" => {
                self.0.lock().unwrap().insert("hung".to_owned(), "active");
                std::future::pending().await
            }
            "masked.service" => Err(Refused::UnitMasked("Unit masked.service is masked.".into())),
            _ => match self.0.lock().unwrap().get_mut(name) {
                Some(state) => {
                    *state = to;
                    Ok(path("/org/freedesktop/systemd1/job/7"))
                }
                None => Err(Refused::NoSuchUnit(format!("Unit {name} not found.\n\u{1b}[31m"))),
            },
        }
    }
}

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Mock {
    async fn start_unit(&self, name: String, mode: String) -> Result<OwnedObjectPath, Refused> {
        self.job(&name, &mode, "activating").await
    }

    async fn stop_unit(&self, name: String, mode: String) -> Result<OwnedObjectPath, Refused> {
        self.job(&name, &mode, "deactivating").await
    }

    fn list_units_by_names(&self, names: Vec<String>) -> fdo::Result<Vec<Unit>> {
        let units = self.0.lock().unwrap();
        let unit = |name: &String| {
            let state = units.get(name).copied();
            let load = if state.is_some() { "loaded" } else { "not-found" };
            // systemd answers with the name of its own that an alias leads to.
            let own = if name == "alias.service" { "own.service" } else { name };
            let (text, none) = (str::to_owned, String::new);
            let active = text(state.unwrap_or("inactive"));
            (text(own), none(), text(load), active, none(), none(), path("/u"), 0, none(), path("/"))
        };
        Ok(names.iter().map(unit).collect())
    }
}

fn target(ids: &[&str]) -> Target {
    Target { ids: ids.iter().map(|id| (*id).to_owned()).collect(), ..Target::default() }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[tokio::test]
async fn units_are_started_stopped_and_seen() {
    let bus = Bus::new();
    let (_mock, units) = bus.mock().await;
    units.lock().unwrap().extend([
        ("a.service".to_owned(), "inactive"),
        ("b.socket".to_owned(), "active"),
        ("c.service".to_owned(), "failed"),
        ("alias.service".to_owned(), "reloading"),
        ("odd.service".to_owned(), "maintenance"),
    ]);
    let provider = bus.provider();
    let all = target(&["a", "b.socket", "c", "alias", "none", "odd"]);
    let see = async || {
        let seen = provider.status(&all, soon()).await.unwrap();
        all.ids.iter().map(|id| seen[id].status).collect::<Vec<_>>()
    };
    use Status::{Missing, Running, Starting, Stopped, Stopping, Unknown};
    assert_eq!(see().await, [Stopped, Running, Stopped, Running, Missing, Unknown]);
    provider.start(&target(&["a"]), soon()).await.unwrap();
    provider.stop(&target(&["b.socket"]), Stop::Shutdown, soon()).await.unwrap();
    assert_eq!(see().await, [Starting, Stopping, Stopped, Running, Missing, Unknown]);
    let seen = provider.describe(&all, soon()).await.unwrap();
    assert_eq!(seen["a"].addresses, ["127.0.0.1"]);
    assert_eq!(seen["c"].reason.as_deref(), Some("c.service has failed"));
}

#[tokio::test]
async fn a_refusal_is_told_by_its_kind() {
    let bus = Bus::new();
    let (_mock, _) = bus.mock().await;
    let provider = bus.provider();
    let error = provider.start(&target(&["none"]), soon()).await.unwrap_err();
    assert_eq!(error, Fault::Gone.said("Unit none.service not found. [31m"));
    let error = provider.start(&target(&["masked"]), soon()).await.unwrap_err();
    assert_eq!(error.fault, Fault::Denied);
    let error = provider.stop(&target(&["none"]), Stop::Hibernate, soon()).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unsupported);
}

#[tokio::test]
async fn a_systemd_that_goes_away_during_a_call_is_an_error_and_is_found_again() {
    let bus = Bus::new();
    let (mock, units) = bus.mock().await;
    units.lock().unwrap().insert("a.service".to_owned(), "active");
    let provider = bus.provider();
    provider.status(&target(&["a"]), soon()).await.unwrap();
    let hung = target(&["hang"]);
    let call = provider.start(&hung, soon());
    let (error, ()) = tokio::join!(call, async {
        while !units.lock().unwrap().contains_key("hung") {
            // Sleeps: between two looks.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        mock.close().await.unwrap();
    });
    assert_eq!(error.unwrap_err().fault, Fault::Interrupted);
    let error = provider.status(&target(&["a"]), soon()).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unreachable);
    let (_mock, units) = bus.mock().await;
    units.lock().unwrap().insert("a.service".to_owned(), "active");
    let seen = provider.status(&target(&["a"]), soon()).await.unwrap();
    assert_eq!(seen["a"].status, Status::Running);
}

#[tokio::test]
async fn a_bus_that_goes_away_is_connected_to_again() {
    let bus = Bus::new();
    let address = bus.address.clone();
    let provider = bus.provider();
    let (_mock, units) = bus.mock().await;
    units.lock().unwrap().insert("a.service".to_owned(), "active");
    provider.status(&target(&["a"]), soon()).await.unwrap();
    drop(bus);
    assert!(provider.status(&target(&["a"]), soon()).await.is_err());
    let error = provider.status(&target(&["a"]), soon()).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unreachable, "{error}");
    let again = Bus::new();
    let old = address.strip_prefix("unix:path=").unwrap();
    std::fs::create_dir_all(std::path::Path::new(old).parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(again.address.strip_prefix("unix:path=").unwrap(), old).unwrap();
    let (_mock, units) = again.mock().await;
    units.lock().unwrap().insert("a.service".to_owned(), "active");
    let seen = provider.status(&target(&["a"]), soon()).await.unwrap();
    assert_eq!(seen["a"].status, Status::Running);
    std::fs::remove_dir_all(std::path::Path::new(old).parent().unwrap()).unwrap();
}
