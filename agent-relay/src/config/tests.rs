//! What the settings mean, from a file.

use std::{fs, time::Duration};

use super::*;
use crate::DAEMON;

fn resolve(file: &str) -> Result<Config, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.toml");
    fs::write(&path, file).unwrap();
    let words = ["agent-relay", "--config", path.to_str().unwrap()];
    let matches = DAEMON.command().try_get_matches_from(words).unwrap();
    Config::resolve(DAEMON.settings(&matches)?)
}

#[test]
fn the_old_names_mean_what_they_meant() {
    let config = resolve(
        "dd_url = 'http://localhost:7070/stsAgent/'\nnon_local_traffic = 'yes'\nforwarder_timeout = 5\n\
         proxy_host = 'squid'\nproxy_user = 'me'\nproxy_password = 'secret'\nlisten_port = 17123\n",
    )
    .unwrap();
    assert_eq!(config.listen, [listen::everywhere(17123)]);
    assert_eq!(config.upstreams.len(), 1);
    assert_eq!(config.upstreams[0].base.path, "/stsAgent");
    assert_eq!(config.patience, Duration::from_secs(5));
    let proxy = config.proxies.https.unwrap();
    assert_eq!((proxy.host.as_str(), proxy.port), ("squid", 3128));
    assert_eq!(proxy.credentials.unwrap().expose(), "me:secret");
}

#[test]
fn routes_take_their_upstreams_from_the_others() {
    let config = resolve(
        "dd_url = ['https://a.example', 'https://b.example']\napi_key = 'k'\n\
         [[upstream]]\nname = 'logs'\nurl = 'http://logs:8080'\nweight = 3\nhealth = '/ok'\n\
         [[route]]\npath = '/api/v2/logs'\nupstreams = ['logs']\n[[route]]\npath = '/x'\nlive = true\n",
    )
    .unwrap();
    assert_eq!(config.others, [0, 1]);
    assert_eq!(config.rules[0].upstreams, [2]);
    assert_eq!((config.rules[1].upstreams.as_slice(), config.rules[1].live), (&[0, 1][..], Some(true)));
    assert_eq!(config.upstreams[2].key.as_ref().unwrap().expose(), "k");
    assert_eq!(config.listen.len(), 2);
}

#[test]
fn every_problem_is_told_at_once() {
    let error = resolve(
        "dd_url = 'ftp://x'\napi_key = 'a&b'\nstats_addr = '0.0.0.0:3835'\nbind_host = 'nowhere'\n\
         [[route]]\nupstreams = ['gone']\n[[upstream]]\nname = 'a'\nurl = 'a'\nwieght = 1\n",
    )
    .unwrap_err()
    .to_string();
    for part in ["dd_url", "API_KEY", "stats_addr", "bind_host", "\"gone\"", "wieght"] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[test]
fn the_command_line_is_sound() {
    DAEMON.command().debug_assert();
}

#[test]
fn the_usual_variable_names_a_web_proxy() {
    let proxy = from_url("http://me:secret@squid:8080/", Vec::new()).unwrap();
    assert_eq!((proxy.host.as_str(), proxy.port), ("squid", 8080));
    assert_eq!(proxy.credentials.unwrap().expose(), "me:secret");
    let port = |url| from_url(url, Vec::new()).unwrap().port;
    assert_eq!([port("squid"), port("http://squid:80/"), port("[::1]:8080")], [3128, 80, 8080]);
    let coded = from_url("http://me:p%40ss@squid", Vec::new()).unwrap();
    assert_eq!(coded.credentials.unwrap().expose(), "me:p@ss");
    assert!(from_url("socks5://squid", Vec::new()).is_none());
}
