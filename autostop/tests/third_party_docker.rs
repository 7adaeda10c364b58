//! The Docker provider on a real engine: an image of one static program, and containers of it.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, io::Write as _, process::Command as Process, time::Duration};

use autostop::provider::{
    Fault, Provider as _, Seen, Sightings, Status, Stop, Target, docker::Docker, options,
};
use tokio::time::Instant;

const PROGRAM: &str = "
#include <signal.h>
#include <unistd.h>
static void end(int signal) { _exit(0); }
int main(void) { signal(SIGTERM, end); for (;;) pause(); }
";

/// Containers of one test, which go with it.
struct Containers {
    image: String,
    names: Vec<String>,
}

impl Drop for Containers {
    fn drop(&mut self) {
        for name in &self.names {
            Process::new("docker").args(["rm", "-f", name]).output().ok();
        }
        Process::new("docker").args(["rmi", "-f", &self.image]).output().ok();
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Process::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; `cargo xtask test` installs it"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Containers {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name).display().to_string();
        fs::File::create(place("pause.c")).unwrap().write_all(PROGRAM.as_bytes()).unwrap();
        run("musl-gcc", &["-static", "-o", &place("pause"), &place("pause.c")]);
        run("tar", &["-C", &folder.path().display().to_string(), "-cf", &place("image.tar"), "pause"]);
        let image = format!("wayside-test-{:08x}", fastrand::u32(..));
        run("docker", &["import", &place("image.tar"), &image]);
        Self { image, names: Vec::new() }
    }

    fn create(&mut self, options: &[&str]) -> String {
        let name = format!("{}-{}", self.image, self.names.len());
        self.names.push(name.clone());
        let arguments = [&["create", "--name", &name], options, &[&self.image, "/pause"]].concat();
        run("docker", &arguments);
        name
    }
}

fn provider(address: options::DockerAddress) -> Docker {
    Docker::new(options::Docker { address, ..options::Docker::default() })
}

fn target(ids: &[&str]) -> Target {
    Target { ids: ids.iter().map(|id| (*id).to_owned()).collect(), ..Target::default() }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[tokio::test]
async fn a_container_is_started_paused_and_stopped() {
    let mut containers = Containers::new();
    let name = containers.create(&["-p", "127.0.0.1::8080", "-p", "127.0.0.1::9090"]);
    let own = provider(options::DockerAddress::Container);
    let target = target(&[&name]);
    let see = async || own.status(&target, soon()).await.unwrap().remove(&name).unwrap();
    assert_eq!(see().await, Seen::of(Status::Stopped));
    for _ in 0..2 {
        own.start(&target, soon()).await.unwrap();
    }
    let seen = see().await;
    assert_eq!(seen.status, Status::Running);
    let inspected = run("docker", &["inspect", "-f", "{{.NetworkSettings.IPAddress}}", &name]);
    assert_eq!(seen.addresses, [inspected]);

    let published = provider(options::DockerAddress::Published);
    let mut second = target.clone();
    second.params.insert("port".into(), 9090.into());
    let place = |seen: Sightings| seen[&name].addresses.clone();
    let first = place(published.describe(&target, soon()).await.unwrap());
    assert_eq!(first, [run("docker", &["port", &name, "8080"])]);
    let second = place(published.describe(&second, soon()).await.unwrap());
    assert_eq!(second, [run("docker", &["port", &name, "9090"])]);

    own.stop(&target, Stop::Hibernate, soon()).await.unwrap();
    assert_eq!(see().await.status, Status::Stopped);
    let state = || run("docker", &["inspect", "-f", "{{.State.Status}}", &name]);
    assert_eq!(state(), "paused");
    own.stop(&target, Stop::Hibernate, soon()).await.unwrap();
    own.start(&target, soon()).await.unwrap();
    assert_eq!(state(), "running");
    for _ in 0..2 {
        own.stop(&target, Stop::Shutdown, soon()).await.unwrap();
    }
    assert_eq!(state(), "exited");
    assert_eq!(see().await, Seen::of(Status::Stopped));
}

#[tokio::test]
async fn what_is_not_there_is_missing_and_does_not_hide_the_others() {
    let mut containers = Containers::new();
    let name = containers.create(&[]);
    let provider = provider(options::DockerAddress::Container);
    let seen = provider.status(&target(&[&name, "no-such-container", "../info"]), soon()).await.unwrap();
    assert_eq!(seen[&name].status, Status::Stopped);
    assert_eq!(seen["no-such-container"].status, Status::Missing);
    assert_eq!(seen["../info"].status, Status::Unknown);
    for gone in ["no-such-container", "../info", "a?t=1", ""] {
        let error = provider.start(&target(&[gone]), soon()).await.unwrap_err();
        assert_eq!(error.fault, Fault::Gone, "{gone}");
    }
}
