//! The compose files and the manifests: what they describe comes up, and fits the schemas of those who read them.

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;
use tests::{docker::load, http, program::run, wait::wait_for};

/// Answers everything; perl is part of the least Debian.
const SERVICE: &str = r#"FROM wayside-test-debian:12
CMD ["perl", "-MIO::Socket::INET", "-e", "$l = IO::Socket::INET->new(LocalPort => 8080, Listen => 9, ReuseAddr => 1); while ($c = $l->accept) { while (<$c>) { last if /^\r?$/ } print $c qq(HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello); close $c }"]
"#;

fn packaging(file: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging")).join(file)
}

/// A topology that is up until it is dropped.
struct Topology(PathBuf, Vec<(String, String)>);

impl Topology {
    fn up(file: &str, variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let topology = Self(packaging("docker").join(file), variables.collect());
        run(topology.compose().args(["up", "--detach"]));
        topology
    }

    fn compose(&self) -> Command {
        let mut compose = Command::new("docker-compose");
        compose.args(["--project-name", "wayside-test", "--file"]).arg(&self.0).envs(self.1.clone());
        compose
    }

    fn logs(&self) -> String {
        run(self.compose().args(["logs", "--no-color"]))
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        self.compose().args(["down", "--volumes"]).output().ok();
    }
}

#[test]
fn the_capture_topology_comes_up_and_captures() {
    load("goproxy");
    load("forwarder");
    let mut build = Command::new("docker");
    build.args(["build", "--quiet", "--tag", "wayside-test-service", "-"]).env("DOCKER_BUILDKIT", "0");
    let mut build = build.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    build.stdin.take().unwrap().write_all(SERVICE.as_bytes()).unwrap();
    assert!(build.wait().unwrap().success());
    let variables = [
        ("SERVICE_IMAGE", "wayside-test-service"),
        ("SERVICE_PORT", "8080"),
        ("ANALYZER_TOKEN", "open sesame"),
    ];
    let topology = Topology::up("capture.compose.yaml", &variables);
    wait_for("goproxy to be registered", || {
        topology.logs().contains("Successfully registered").then_some(())
    });
    assert_eq!(http::get(4143, "/through/compose"), "hello");
    wait_for("the exchange to be shown", || {
        let told = http::get_with_token(8889, "/api/v1/pairs?path=/through/compose", "open sesame");
        let pairs: Value = serde_json::from_str(&told).unwrap();
        pairs.to_string().contains("/through/compose").then_some(())
    });
}

#[test]
fn every_topology_is_understood() {
    let variables = [
        ("SERVICE_IMAGE", "a"),
        ("SERVICE_PORT", "1"),
        ("ANALYZER_TOKEN", "a"),
        ("DD_URL", "http://a"),
        ("AUTOSTOP_FOLDER", "/srv"),
        ("DOCKER_GROUP", "1"),
    ];
    let files: Vec<_> = fs::read_dir(packaging("docker")).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 3);
    for file in files {
        let mut compose = Command::new("docker-compose");
        run(compose.arg("--file").arg(&file).arg("config").envs(variables));
    }
}

#[test]
fn every_manifest_fits_its_schema() {
    let files: Vec<_> =
        fs::read_dir(packaging("kubernetes")).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!files.is_empty());
    for file in files {
        run(Command::new("kubernetes-validate").arg("--strict").arg(&file));
    }
}
