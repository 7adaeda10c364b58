//! The compose files and the manifests: what they describe comes up and does its work, and fits the schemas of those
//! who read them.
#![allow(
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a failure is told with its logs"
)]

use std::{
    fs,
    io::Read as _,
    net::TcpListener,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    docker::{Container, image_of_program, image_of_service, load},
    flag::{ENVIRONMENT, KEY},
    flags::{ask, flag},
    http,
    peer::{answering, serve_on},
    program::run,
    wait::wait_for,
};

const PROJECT: &str = "wayside-test";

fn packaging(file: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging")).join(file)
}

/// A topology that is up until it is dropped.
struct Topology {
    files: Vec<PathBuf>,
    variables: Vec<(String, String)>,
}

impl Topology {
    /// That of this file, with these variables.
    fn of(file: &str) -> Self {
        Self { files: vec![packaging("docker").join(file)], variables: Vec::new() }
    }

    /// With another file over it.
    fn and(mut self, file: &Path) -> Self {
        self.files.push(file.to_owned());
        self
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Brings up these services, or all.
    fn up(&self, services: &[&str]) {
        run(self.compose().args(["up", "--detach"]).args(services));
    }

    fn compose(&self) -> Command {
        let mut compose = Command::new("docker-compose");
        compose.args(["--project-name", PROJECT]).envs(self.variables.clone());
        for file in &self.files {
            compose.arg("--file").arg(file);
        }
        compose
    }

    fn logs(&self) -> String {
        run(self.compose().args(["logs", "--no-color"]))
    }

    /// Waits until the health check of every service that has one is content.
    fn wait_until_healthy(&self) {
        for id in run(self.compose().args(["ps", "--quiet"])).lines() {
            let health = "{{if .State.Health}}{{.State.Health.Status}}{{else}}healthy{{end}} {{.Name}}";
            wait_for("every service to be healthy", || {
                let told = run(Command::new("docker").args(["inspect", "--format", health, id]));
                told.starts_with("healthy ").then_some(())
            });
        }
    }

    fn wait_for_line(&self, words: &str) {
        wait_for(format!("{words:?} in the log"), || self.logs().contains(words).then_some(()));
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        self.compose().args(["down", "--volumes"]).output().ok();
    }
}

/// A compose file to lay over another: this setting of this service.
fn over(folder: &TempDir, service: &str, setting: &str) -> PathBuf {
    let file = folder.path().join("over.yaml");
    fs::write(&file, format!("services:\n  {service}:\n    {setting}\n")).unwrap();
    file
}

#[test]
fn the_capture_topology_comes_up_and_captures() {
    load("goproxy");
    load("forwarder");
    let topology = Topology::of("capture.compose.yaml")
        .with("SERVICE_IMAGE", &image_of_service())
        .with("SERVICE_PORT", "8080")
        .with("ANALYZER_TOKEN", "open sesame");
    topology.up(&[]);
    topology.wait_for_line("Successfully registered");
    assert_eq!(http::get(4143, "/through/compose"), "hello");
    wait_for("the exchange to be shown", || {
        let told = http::get_with_token(8889, "/api/v1/pairs?path=/through/compose", "open sesame");
        let pairs: Value = serde_json::from_str(&told).unwrap();
        pairs.to_string().contains("/through/compose").then_some(())
    });
    topology.wait_until_healthy();
}

#[test]
fn the_relay_of_agents_comes_up_and_delivers() {
    load("agent-relay");
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let receiver = format!("http://receiver:{}", listener.local_addr().unwrap().port());
    let (tell, told) = mpsc::channel();
    serve_on(listener, move |mut stream| {
        let mut head = vec![0; 65536];
        let length = stream.read(&mut head).unwrap_or_default();
        head.truncate(length);
        tell.send(String::from_utf8_lossy(&head).into_owned()).ok();
        answering("application/json", b"{}")(stream);
    });
    let folder = TempDir::new().unwrap();
    let topology = Topology::of("agent-relay.compose.yaml")
        .and(&over(&folder, "agent-relay", "extra_hosts: [\"receiver:host-gateway\"]"))
        .with("DD_URL", &receiver)
        .with("API_KEY", "0123456789abcdef");
    topology.up(&[]);
    wait_for("the relay to be up", || http::try_get(17123, "/status"));
    http::post(17123, "/intake?api_key=0123456789abcdef", r#"{"through": "compose"}"#);
    let got = || told.try_recv().ok().filter(|head| head.contains("POST /intake"));
    wait_for("what the agent sent", got);
    topology.wait_until_healthy();
}

/// The flag of the environment as the relay at this port tells it to an SDK.
fn served(port: u16, name: &str) -> Option<Value> {
    // The engine accepts before the relay does.
    http::try_get(port, "/health")?;
    let of = |path: &str| format!("http://127.0.0.1:{port}/client/{path}");
    let (code, told) = ask("POST", &of("auth"), None, &json!({ "apiKey": KEY }));
    let token = told["authToken"].as_str().filter(|_| code == 200)?;
    let path = format!("env/{ENVIRONMENT}/feature-configs/{name}");
    let (code, told) = ask("GET", &of(&path), Some(token), &Value::Null);
    (code == 200).then(|| told["defaultServe"]["variation"].clone())
}

#[test]
fn a_primary_and_its_replicas_come_up_and_tell_what_changes() {
    load("flag-relay");
    let folder = TempDir::new().unwrap();
    // No registry is asked for one.
    let redis = image_of_program("redis-server", &["--save", "", "--protected-mode", "no"]);
    let mut topology = Topology::of("flag-relay.compose.yaml")
        .and(&over(&folder, "redis", &format!("image: {redis}")))
        .with("ADMIN_TOKEN", "admin-token-of-the-test")
        .with("AUTH_SECRET", "a secret that all relays of this test share");
    topology.up(&["saas"]);
    wait_for("the flag service to be up", || http::try_get(7100, "/readyz"));
    let admin = |method: &str, path: &str, body: &Value| {
        let told = run(Command::new("curl")
            .args(["--fail-with-body", "--silent", "--request", method])
            .args(["--header", "x-api-key: admin-token-of-the-test"])
            .args(["--header", "Content-Type: application/json", "--data", &body.to_string()])
            .arg(format!("localhost:7100/admin/{path}")));
        serde_json::from_str(&told).unwrap_or(Value::Null)
    };
    let scope = json!({ "o": { "projects": { "p": { "scope": "all" } } } });
    let made = admin(
        "POST",
        "proxy/keys",
        &json!({ "name": "relay", "identifier": "relay", "organizations": scope }),
    );
    let place =
        json!({ "org": "o", "project": "p", "identifier": "prod", "name": "prod", "production": true });
    let environment = format!("environments/{ENVIRONMENT}");
    admin("PUT", &environment, &place);
    admin("POST", &format!("{environment}/keys"), &json!({ "key": KEY }));
    admin("PUT", &format!("{environment}/flags/f1"), &flag("f1", false));

    topology = topology.with("PROXY_KEY", made["key"].as_str().unwrap());
    topology.up(&[]);
    let all_serve = |value: &str| {
        for port in [7001, 7002, 7003] {
            let is = || (served(port, "f1")? == *value).then_some(());
            wait_for(format!("f1 to be {value} at {port}"), is);
        }
    };
    all_serve("false");
    admin("PUT", &format!("{environment}/flags/f1"), &flag("f1", true));
    all_serve("true");
    topology.wait_until_healthy();
}

#[test]
fn a_container_sleeps_beside_autostop_until_someone_comes() {
    load("lw_proxy");
    load("lw_tcp_proxy");
    let target = image_of_service();
    let folder = TempDir::new().unwrap();
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    };
    put("config.toml", "accountID = \"acme\"\n[providers.engine]\nkind = \"docker\"\n");
    put(
        "rules.d/box.toml",
        "name = \"box\"\nprovider = \"engine\"\nfilter.vm_ids = [\"wayside-test-box\"]\n\
         idle_time = \"2s\"\nmin_online = \"1s\"\ncustom_domains = [\"box.example\"]\n\
         [[http.routing]]\nsource_port = 80\ntarget_port = 8080\n",
    );
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let group = fs::metadata("/var/run/docker.sock").unwrap().gid().to_string();
    let topology = Topology::of("autostop.compose.yaml")
        .with("AUTOSTOP_FOLDER", &folder.path().display().to_string())
        .with("DOCKER_GROUP", &group);
    topology.up(&[]);
    // What sleeps has to be where the daemons can reach it.
    let sleeper =
        Container::create(&["--name=wayside-test-box", &format!("--network={PROJECT}_default"), &target]);
    for _ in 0..2 {
        wait_for("it to sleep", || (sleeper.inspect("{{.State.Running}}") == "false").then_some(()));
        let curl = ["--silent", "--max-time", "30", "--header", "Host: box.example", "http://127.0.0.1/"];
        wait_for("it to answer", || (run(Command::new("curl").args(curl)) == "hello").then_some(()));
        assert_eq!(sleeper.inspect("{{.State.Running}}"), "true");
    }
    topology.wait_until_healthy();
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
        ("ADMIN_TOKEN", "a"),
        ("AUTH_SECRET", "a"),
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
