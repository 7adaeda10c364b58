//! The `docker run` lines of the documents, and what they say to check, with our images.

use std::{fs, io::Read as _, net::TcpListener, os::unix::fs::PermissionsExt as _, process::Command};

use serde_json::Value;
use tests::{
    docker::{Container, load},
    http,
    peer::{answering, connect, serve_on},
    program::run,
    wait::wait_for,
};

/// What each image may take, in MiB. Most of that of forwarder is the engine behind its SQL.
const SIZES: [(&str, u64); 6] = [
    ("goproxy", 25),
    ("forwarder", 80),
    ("agent-relay", 25),
    ("flag-relay", 25),
    ("lw_proxy", 25),
    ("lw_tcp_proxy", 25),
];

/// The host, as containers reach it: there is no name server that knows this machine.
fn this_host() -> (String, String) {
    let name = run(&mut Command::new("hostname")).trim().to_owned();
    let known = format!("{name}:host-gateway");
    (name, known)
}

fn listens(port: u16) -> bool {
    let lines = run(Command::new("netstat").args(["-a", "-n"]));
    let ends = format!(":{port}");
    lines.lines().any(|line| {
        line.contains("LISTEN") && line.split_whitespace().nth(3).is_some_and(|at| at.ends_with(&ends))
    })
}

#[test]
fn the_documented_lines_capture_what_passes() {
    let (host, known) = this_host();
    let forwarder_image = load("forwarder");
    let goproxy_image = load("goproxy");
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let service = listener.local_addr().unwrap();
    serve_on(listener, answering("text/plain", b"hello from the service"));
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("forwarder.list");
    fs::write(&list, "LOG_LEVEL=debug\n# a comment\nSTORE_MAX_AGE=\n").unwrap();

    let forwarder = Container::run(&[
        "--rm",
        "--env=CLUSTER_NAME=my_cluster",
        &format!("--env-file={}", list.display()),
        "--publish=8888:8888/tcp",
        &forwarder_image,
    ]);
    forwarder.wait_for_line(&["Starting gRPC listener on port"]);
    forwarder.wait_until_healthy();
    let ps = forwarder.ps();
    assert!(ps.contains("/usr/local/bin/forwarder") && ps.contains("0.0.0.0:8888->8888/tcp"), "{ps}");
    assert!(listens(8888));

    let goproxy = Container::run(&[
        "--rm",
        "--add-host",
        &known,
        "--env=PROXY_TYPE=reverse",
        "--env=PROXY_IN_PORT=4143",
        &format!("--env=REVERSE_PROXY_HOST={host}"),
        &format!("--env=REVERSE_PROXY_PORT={}", service.port()),
        "--env=APP_LABEL=my_application_name",
        &format!("--env=APP_POD_NAME={host}"),
        &format!("--env=FORWARDER_ADDR={host}:8888"),
        "--env=LOG_LEVEL=debug",
        "--publish=4143:4143/tcp",
        &goproxy_image,
    ]);
    goproxy.wait_for_line(&["Successfully registered with forwarder", &host]);
    goproxy.wait_until_healthy();
    let ps = goproxy.ps();
    assert!(ps.contains("/usr/local/bin/goproxy") && ps.contains("0.0.0.0:4143->4143/tcp"), "{ps}");
    assert!(listens(4143));
    forwarder.wait_for_line(&["REGISTER proxy ID", &host]);

    assert!(http::get(4143, "/product").contains("hello from the service"));
    goproxy.wait_for_line(&["HTTP REQUEST", "/product"]);
    goproxy.wait_for_line(&["HTTP RESPONSE"]);
    let captured = wait_for("the exchange to be stored", || {
        let told = forwarder.read(&["/usr/local/bin/forwarder", "query", "--path", "/product"]);
        told.lines().next().map(|line| serde_json::from_str::<Value>(line).unwrap())
    });
    assert!(captured.to_string().contains("my_application_name"), "{captured}");
    assert!(captured.to_string().contains("my_cluster"), "{captured}");

    for (container, words) in
        [(&goproxy, "Starting proxy listener"), (&forwarder, "Starting reaper for proxies")]
    {
        let line = container.wait_for_line(&[words]);
        assert!(serde_json::from_str::<Value>(&line).is_ok(), "{line}");
    }
}

#[test]
fn the_documented_mistake_is_told_as_documented() {
    let image = load("goproxy");
    let variables = [
        "PROXY_TYPE=reverse",
        "PROXY_IN_PORT=4143",
        "REVERSE_PROXY_HOST=localhost",
        "REVERSE_PROXY_PORT=5000",
    ];
    let mut words: Vec<_> = variables.iter().map(|told| format!("--env={told}")).collect();
    let names = ["APP_LABEL=a", "APP_POD_NAME=b", "FORWARDER_ADDR=127.0.0.1:8888"];
    words.extend(names.iter().map(|told| format!("--env={told}")));
    words.extend(["--publish=127.0.0.1:0:4143/tcp".to_owned(), image]);
    let goproxy = Container::run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    goproxy.wait_for_line(&["Starting proxy listener"]);
    let port = goproxy
        .inspect(r#"{{(index (index .NetworkSettings.Ports "4143/tcp") 0).HostPort}}"#)
        .parse()
        .unwrap();
    let read = connect(port).read(&mut [0; 16]);
    assert!(matches!(read, Ok(0) | Err(_)), "there is nobody behind it");
    goproxy.wait_for_line(&["dial() ERR could not connect", ":5000"]);
    goproxy.wait_for_line(&["Could not connect, giving up"]);
}

#[test]
fn what_is_required_is_named_and_nothing_starts() {
    let image = load("goproxy");
    let output = Command::new("docker").args(["run", "--rm", &image]).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr);
    for name in ["PROXY_TYPE", "APP_LABEL", "APP_POD_NAME", "FORWARDER_ADDR"] {
        assert!(said.contains(name), "{said}");
    }
}

#[test]
fn every_image_is_small_and_runs_as_nobody_on_a_disk_that_cannot_be_written() {
    let flags = tempfile::tempdir().unwrap();
    fs::set_permissions(flags.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let environment = "keys: [my-sdk-key]\nflags: { dark-mode: { default: true } }\n";
    fs::write(flags.path().join("production.yaml"), environment).unwrap();
    for (name, most) in SIZES {
        let image = load(name);
        let told =
            |part: &str| run(Command::new("docker").args(["image", "inspect", "--format", part, &image]));
        let bytes: u64 = told("{{.Size}}").trim().parse().unwrap();
        assert!(bytes <= most << 20, "{name} takes {bytes} bytes");
        assert_eq!(told("{{.Config.User}}").trim(), "65532:65532", "{name}");
        let container = Container::run(&[
            "--read-only",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            "--env=PROXY_TYPE=reverse",
            "--env=APP_LABEL=a",
            "--env=APP_POD_NAME=b",
            "--env=FORWARDER_ADDR=127.0.0.1:8888",
            "--env=DD_URL=http://127.0.0.1:9",
            "--env=OFFLINE=true",
            &format!("--volume={}:/config:ro", flags.path().display()),
            &image,
        ]);
        if name == "lw_tcp_proxy" {
            // It is ready once it has heard from lw_proxy, which is not here.
            container.wait_for_line(&["Starting proxy listener", ":443"]);
            let health = container.exec(&["/usr/local/bin/lw_tcp_proxy", "--health"]);
            assert!(String::from_utf8_lossy(&health.stderr).contains("the plan of the control plane"));
            continue;
        }
        container.wait_until_healthy();
        container.signal("TERM");
        let code = run(Command::new("docker").args(["wait", container.id()]));
        assert_eq!(code.trim(), "0", "{name}: {}", container.logs());
    }
}
