//! A real engine, where there is one: an image of one static program, and containers of it.

use std::{fs, io::Write as _, path::PathBuf, process::Command as Process, time::Duration};

use super::*;

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

fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Process::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Containers {
    /// `None` where there is no engine, no client or no compiler for static programs.
    fn new() -> Option<Self> {
        let containers = Self::try_new();
        if containers.is_none() {
            println!("skipped: it needs a Docker engine, its client and musl-gcc");
        }
        containers
    }

    fn try_new() -> Option<Self> {
        run("docker", &["version"])?;
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name).display().to_string();
        fs::File::create(place("pause.c")).unwrap().write_all(PROGRAM.as_bytes()).unwrap();
        run("musl-gcc", &["-static", "-o", &place("pause"), &place("pause.c")])?;
        run("tar", &["-C", &folder.path().display().to_string(), "-cf", &place("image.tar"), "pause"])?;
        let image = format!("wayside-test-{:08x}", fastrand::u32(..));
        run("docker", &["import", &place("image.tar"), &image])?;
        Some(Self { image, names: Vec::new() })
    }

    fn create(&mut self, options: &[&str]) -> String {
        let name = format!("{}-{}", self.image, self.names.len());
        self.names.push(name.clone());
        let arguments = [&["create", "--name", &name], options, &[&self.image, "/pause"]].concat();
        run("docker", &arguments).expect("a container");
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
    let Some(mut containers) = Containers::new() else { return };
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
    let inspected = run("docker", &["inspect", "-f", "{{.NetworkSettings.IPAddress}}", &name]).unwrap();
    assert_eq!(seen.addresses, [inspected]);

    let published = provider(options::DockerAddress::Published);
    let mut second = target.clone();
    second.params.insert("port".into(), 9090.into());
    let place = |seen: Sightings| seen[&name].addresses.clone();
    let first = place(published.describe(&target, soon()).await.unwrap());
    assert_eq!(first, [run("docker", &["port", &name, "8080"]).unwrap()]);
    let second = place(published.describe(&second, soon()).await.unwrap());
    assert_eq!(second, [run("docker", &["port", &name, "9090"]).unwrap()]);

    own.stop(&target, Stop::Hibernate, soon()).await.unwrap();
    assert_eq!(see().await.status, Status::Stopped);
    let state = || run("docker", &["inspect", "-f", "{{.State.Status}}", &name]).unwrap();
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
    let Some(mut containers) = Containers::new() else { return };
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

#[tokio::test]
async fn an_engine_that_is_not_there_cannot_be_reached() {
    let folder = tempfile::tempdir().unwrap();
    let socket: PathBuf = folder.path().join("docker.sock");
    let provider = Docker::new(options::Docker { socket: socket.clone(), ..options::Docker::default() });
    let error = provider.start(&target(&["a"]), soon()).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unreachable, "{error}");
    // Somebody listened there once.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let error = provider.status(&target(&["a"]), soon()).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unreachable, "{error}");
}

#[tokio::test]
async fn an_engine_that_goes_away_during_a_call_leaves_the_outcome_open() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let folder = tempfile::tempdir().unwrap();
    let socket: PathBuf = folder.path().join("docker.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let engine = async {
        let bodies = [r#"{"ApiVersion":"1.41"}"#, r#"{"State":{"Status":"exited"}}"#];
        for body in bodies.map(Some).into_iter().chain([None]) {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            assert!(connection.read(&mut request).await.unwrap() > 0);
            let Some(body) = body else { return String::from_utf8(request).unwrap() };
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
            let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
        String::new()
    };
    let provider = Docker::new(options::Docker { socket, ..options::Docker::default() });
    let (target, deadline) = (target(&["a"]), soon());
    let (error, last) = tokio::join!(provider.start(&target, deadline), engine);
    assert!(last.starts_with("POST ") && last.contains("/containers/a/start "), "{last}");
    assert_eq!(error.unwrap_err().fault, Fault::Interrupted);
}
