//! What `lw_tcp_proxy` can be told.

use std::{
    fs, io,
    io::Write as _,
    net::{Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use common::{
    config::{Error, Setting, Settings as Told},
    daemon::{Configured, Daemon},
    drain::Drain,
    telemetry::Layout,
};

use super::Settings;

/// Every setting.
pub static SETTINGS: [Setting; 6] = [
    Setting::new("control_addr", "HOST:PORT", "Where lw_proxy is", Some("127.0.0.1:8094")),
    Setting::new("http_listen", "ADDRESSES", "Where HTTP comes in, separated by commas", Some("[::]:80")),
    Setting::new("https_listen", "ADDRESSES", "Where HTTPS comes in, separated by commas", Some("[::]:443")),
    Setting::new(
        "health_addr",
        "ADDRESS",
        "Where /livez, /readyz and /metrics answer",
        Some("127.0.0.1:8095"),
    ),
    Setting::new("plane_id", "NAME", "Who this plane is; drawn once and kept where it is not set", None),
    Setting::new("state_dir", "FOLDER", "Where it keeps who it is", Some("/var/lib/wayside/autostop")),
];

/// Clients that have left are known sooner, by their own systems; this is for systems that vanished too.
const LEFT_AFTER: Duration = Duration::from_secs(300);

/// What is fixed about `lw_tcp_proxy`.
pub static DAEMON: Daemon = Daemon {
    name: "lw_tcp_proxy",
    about: "Carries HTTP and TCP to machines that may be asleep, and holds clients until these are awake",
    settings: &SETTINGS,
    layout: Layout::LevelMsgTime,
    threads: 1,
};

/// A checked configuration.
#[derive(Debug)]
pub struct Config {
    /// Of the plane, its id still empty where it was not set.
    pub settings: Settings,
    /// Where the id is kept.
    pub state_dir: PathBuf,
}

/// Runs the plane.
///
/// # Errors
/// As [`super::serve`], and when the id can neither be read nor kept.
pub async fn serve(config: Config, drain: Drain) -> anyhow::Result<()> {
    let Config { mut settings, state_dir } = config;
    if settings.plane_id.is_empty() {
        settings.plane_id = kept_id(&state_dir)
            .with_context(|| format!("keep the id of this plane in {}", state_dir.display()))?;
    }
    super::serve(settings, drain).await
}

impl Configured for Config {
    fn health(&self) -> SocketAddr {
        self.settings.admin
    }
}

impl Config {
    /// Understands the settings.
    ///
    /// # Errors
    /// With every problem at once.
    pub fn resolve(mut told: Told) -> Result<Self, Error> {
        let control = told.required("control_addr");
        if !control.contains(':') || control.contains('/') {
            told.refuse("control_addr", "use host:port, such as 127.0.0.1:8094");
        }
        let settings = Settings {
            control,
            plane_id: told.optional("plane_id").unwrap_or_default().to_owned(),
            http: addresses(&mut told, "http_listen"),
            https: addresses(&mut told, "https_listen"),
            tcp: Ipv6Addr::UNSPECIFIED.into(),
            admin: told.address("health_addr"),
            left_after: LEFT_AFTER,
            workers: thread::available_parallelism().map_or(1, usize::from),
        };
        let state_dir = told.required("state_dir").into();
        told.or_ok(Self { settings, state_dir })
    }
}

fn addresses(told: &mut Told, key: &str) -> Vec<SocketAddr> {
    let text = told.optional(key).unwrap_or_default().to_owned();
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty() && *part != "off");
    let read: Result<Vec<_>, _> = parts.map(str::parse).collect();
    read.unwrap_or_else(|_| {
        told.refuse(key, "use addresses with ports such as [::]:80, or off");
        Vec::new()
    })
}

/// The id that was drawn when the plane first started here.
///
/// # Errors
/// When it can neither be read nor written down for good.
pub fn kept_id(folder: &Path) -> io::Result<String> {
    let path = folder.join("plane-id");
    match fs::read_to_string(&path) {
        Ok(id) if !id.trim().is_empty() => return Ok(id.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::create_dir_all(folder)?;
    let id = format!("plane-{:016x}", fastrand::u64(..));
    let draft = folder.join("plane-id.new");
    let mut file = fs::File::create(&draft)?;
    writeln!(file, "{id}")?;
    file.sync_all()?;
    fs::rename(&draft, &path)?;
    fs::File::open(folder)?.sync_all()?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_drawn_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("autostop");
        let first = kept_id(&place).unwrap();
        assert!(first.starts_with("plane-"));
        assert_eq!(kept_id(&place).unwrap(), first);
        fs::write(place.join("plane-id"), "").unwrap();
        assert_ne!(kept_id(&place).unwrap(), first);
    }

    #[test]
    fn the_command_line_is_sound() {
        DAEMON.command().debug_assert();
    }
}
