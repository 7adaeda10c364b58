//! What the documented file means, and what is told about a wrong one.

use std::{fs, path::Path};

use common::telemetry::Layout;

use super::*;

pub(super) static DAEMON: Daemon =
    Daemon { name: "lw_proxy", about: "test", settings: &SETTINGS, layout: Layout::LevelMsgTime, threads: 1 };

/// As the reference shows it.
const REFERENCE: &str = r#"accessPointID="ap-crun4gs76otnefrectlg"
apiURL="https://app.harness.io/gratis/lw/api"
proxyPort=8093
usageTrackingPort=8094
authToken="sat.wlgELJ0TTre5aZhzpt8gVA.xxx.xxx"
accountID="wlgELJ0TTre5aZhzpt8gVA"
"#;

pub(super) fn matches(file: &Path, flags: &[&str]) -> clap::ArgMatches {
    let file = file.display().to_string();
    command(&DAEMON).try_get_matches_from([&["lw_proxy", "--config", &file], flags].concat()).unwrap()
}

fn read(text: &str, flags: &[&str]) -> Result<Config, Error> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, text).unwrap();
    Config::control_plane(DAEMON.settings(&matches(file.path(), flags))?)
}

fn told(text: &str) -> String {
    match read(text, &[]) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_documented_file_is_understood_unchanged() {
    let config = read(REFERENCE, &[]).unwrap();
    assert_eq!(config.access_point_id, "ap-crun4gs76otnefrectlg");
    assert_eq!(config.api_url.unwrap().as_str(), "https://app.harness.io/gratis/lw/api");
    assert_eq!(config.proxy_listen, "[::]:8093".parse().unwrap());
    assert_eq!(config.usage_tracking, "127.0.0.1:8094".parse().unwrap());
    assert_eq!(config.live.auth_token.unwrap().expose(), "sat.wlgELJ0TTre5aZhzpt8gVA.xxx.xxx");
    assert_eq!(config.account_id, "wlgELJ0TTre5aZhzpt8gVA");
    assert_eq!(config.http_listen, ["[::]:80".parse().unwrap()]);
    assert_eq!(config.tcp_ports.to_string(), "56000-56999");
    assert_eq!(config.admin, "127.0.0.1:8095".parse().unwrap());
}

#[test]
fn nothing_has_to_be_set() {
    let config = read("accessPointID=\"\"\naccountID=\"\"\napiURL=\"\"\n", &[]).unwrap();
    assert!(config.access_point_id.is_empty() && config.account_id.is_empty());
    assert_eq!((config.api_url, config.live), (None, Live::default()));
    assert_eq!(config.proxy_listen, "127.0.0.1:8093".parse().unwrap(), "not in the open without a token");
    let absent = command(&DAEMON).try_get_matches_from(["lw_proxy"]).unwrap();
    assert_eq!(DAEMON.file(&absent), Path::new(FILE));
}

#[test]
fn a_file_that_was_asked_for_has_to_be_there() {
    let matches = matches(Path::new("/no/such/file"), &[]);
    assert!(DAEMON.settings(&matches).is_err());
}

#[test]
fn a_flag_goes_before_the_file() {
    let config = read(REFERENCE, &["--proxy-port", "1", "--auth-token", "other", "--http-listen", ":81"]);
    let config = config.unwrap();
    assert_eq!(config.proxy_listen.port(), 1);
    assert_eq!(config.live.auth_token.unwrap().expose(), "other");
    assert_eq!(config.http_listen, ["127.0.0.1:81".parse().unwrap()]);
}

#[test]
fn both_daemons_read_the_same_file_and_are_asked_for_their_health_elsewhere() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let certificates = "[[certificates]]\ncert = \"/no/cert.pem\"\nkey = \"/no/key.pem\"\n";
    fs::write(&file, certificates).unwrap();
    let settings = || DAEMON.settings(&matches(file.path(), &[])).unwrap();
    let plane = Config::data_plane(settings()).unwrap();
    assert_eq!((plane.health().port(), plane.live.files.len()), (8095, 1));
    assert!(Config::control_plane(settings()).unwrap_err().to_string().contains("/no/cert.pem"));
    fs::write(&file, "").unwrap();
    assert_eq!(Config::control_plane(settings()).unwrap().health().port(), 8093);
}

#[test]
fn every_problem_is_told_at_once_with_its_key_and_its_mend() {
    let told = told(
        r#"
        proxyport = 1
        apiURL = "ftp://x"
        httpListen = ["nowhere"]
        tcpPorts = "9-7"
        authToken = "line\nbreak"
        certificate = []
        [providers.a]
        kind = "comand"
        [providers.b]
        kind = "command"
        strat = ["x"]
        [providers.c]
        kind = "wake-on-lan"
        hosts = { pc = { mac = "52:54", address = "10.0.0.4" } }
        timeout = "soon"
        [provider.d]
        kind = "docker"
        "#,
    );
    for part in [
        "proxyport in ",
        "did you mean proxyPort?",
        "apiURL in ",
        "use an http:// or https:// URL",
        "httpListen in ",
        "tcpPorts in ",
        "authToken: use printable ASCII",
        "did you mean certificates?",
        "providers.a.kind is \"comand\": use command, docker, plugin, systemd, wake-on-lan",
        "providers.b.strat is not a setting of this kind; did you mean start?",
        "providers.b: missing field `start`",
        "providers.c.hosts.pc.mac is \"52:54\": use six bytes",
        "providers.c: use a length of time such as 45s",
        "did you mean providers?",
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert!(!told.contains("break"), "{told}");
}

#[test]
fn a_port_of_a_rule_is_not_one_that_is_listened_on() {
    assert!(told("tcpPorts = \"8000-9000\"").contains("leave out 8093"));
    assert_eq!(told("tcpPorts = \"8096-9000\""), "");
}

#[test]
fn no_secret_is_printed() {
    let config = read(REFERENCE, &[]).unwrap();
    assert!(!format!("{config:?}").contains("wlgELJ0TTre5aZhzpt8gVA.xxx"));
}

#[test]
fn a_certificate_and_a_key_have_to_belong_together() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let pair = || rcgen::generate_simple_self_signed(["a.example.com".to_owned()]).unwrap();
    let (one, other) = (pair(), pair());
    let read = || Certificate::read(&Files { cert: cert.clone(), key: key.clone() });
    fs::write(&cert, one.cert.pem()).unwrap();
    fs::write(&key, one.signing_key.serialize_pem()).unwrap();
    assert_eq!(read().unwrap().unwrap().chain, one.cert.pem());
    fs::write(&key, other.signing_key.serialize_pem()).unwrap();
    assert!(read().unwrap_err().contains("do not belong together"));
    fs::write(&key, "").unwrap();
    assert!(read().unwrap_err().contains("no private key"));
    fs::write(&cert, "").unwrap();
    assert!(read().unwrap_err().contains("no certificate"));
}
