//! agent-relay among programs that nobody here wrote: their clients, their proxies, their balancers.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    env, fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use rcgen::generate_simple_self_signed;
use tempfile::TempDir;
use tests::{
    http,
    program::{Program, run},
    relay::{Receiver, Relay, post},
    wait::wait_for,
};

/// The Python beside this program, with what is installed there.
fn python_of(program: &str) -> PathBuf {
    let folders = env::var_os("PATH").unwrap_or_default();
    let folder = env::split_paths(&folders).find(|folder| folder.join(program).is_file());
    let folder =
        folder.unwrap_or_else(|| panic!("{program} is not on PATH; `cargo xtask test` puts it there"));
    folder.join("python")
}

fn shell(line: &str) -> String {
    run(Command::new("sh").args(["-c", line]))
}

/// A certificate for this name and its key, in files.
fn certificate(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let made = generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (certificate, key)
}

#[test]
fn the_line_of_the_reference_finds_what_it_looks_for() {
    let folder = TempDir::new().unwrap();
    let relay = Relay::start(folder.path(), Receiver::start().address, &[("API_KEY", "own")]);
    let port = relay.port;
    let line = format!("curl -v http://127.0.0.1:{port}/status 2>&1 | grep \"200 OK\"");
    assert!(shell(&line).contains("HTTP/1.1 200 OK"));
    let code = |more: &str| {
        shell(&format!(
            "curl -s -o /dev/null -w '%{{http_code}}' {more} 'http://127.0.0.1:{port}/status?threshold=0'"
        ))
    };
    assert_eq!(code(""), "200");
    let json =
        shell(&format!("curl -s -H 'Accept: application/json' http://127.0.0.1:{port}/stsAgent/status"));
    assert!(json.contains("\"accepted\":0"), "{json}");
}

#[test]
fn agents_that_speak_tls_are_understood() {
    let folder = TempDir::new().unwrap();
    let (certificate, key) = certificate(folder.path(), "localhost");
    let receiver = Receiver::start();
    let (tls_cert, tls_key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let more = [("API_KEY", "own"), ("TLS_CERT", tls_cert), ("TLS_KEY", tls_key)];
    let relay = Relay::start(&folder.path().join("data"), receiver.address, &more);
    let url = format!("https://localhost:{}/intake/?api_key=k", relay.port);
    let said = run(Command::new("curl").args(["-sS", "--cacert", tls_cert, "-d", "agent 1", &url]));
    assert_eq!(said, "Transaction: None");
    assert_eq!(relay.drained().delivered, 1);
    assert_eq!(post(relay.port, "k", "agent 2"), None, "who does not speak TLS is not listened to");
}

/// A squid that lets in who knows the password, and to which this name is loopback.
fn squid(name: &str) -> Program {
    Program::start(|folder, address| {
        // Started by root, it becomes somebody else, who has to get at its files.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
        let passwords = folder.join("passwords");
        let hash = run(Command::new("openssl").args(["passwd", "-apr1", "secret"]));
        fs::write(&passwords, format!("me:{hash}")).unwrap();
        let hosts = folder.join("hosts");
        fs::write(&hosts, format!("127.0.0.1 {name}\n")).unwrap();
        let configuration = format!(
            "http_port {address}\nhosts_file {}\npid_filename none\ncache deny all\naccess_log none\n\
             cache_log {}/cache.log\nshutdown_lifetime 0 seconds\n\
             auth_param basic program /usr/lib/squid/basic_ncsa_auth {}\nacl known proxy_auth REQUIRED\n\
             http_access allow known\nhttp_access deny all\n",
            hosts.display(),
            folder.display(),
            passwords.display(),
        );
        let file = folder.join("squid.conf");
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new("squid");
        // Its shared memory has the name of the service, and there may be others on this machine.
        command.args(["-N", "-n", &format!("wayside{}", address.port()), "-f"]).arg(file);
        command
    })
}

#[test]
fn data_goes_out_through_a_squid_that_wants_a_password() {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start();
    let (certificate, key) = certificate(folder.path(), "backend.test");
    let tls = tls_in_front(&certificate, &key, receiver.address);
    let squid = squid("backend.test");
    let port = squid.address.port().to_string();
    for (scheme, to) in [("http", receiver.address), ("https", tls.address)] {
        let url = format!("{scheme}://backend.test:{}/stsAgent/", to.port());
        let start = |name: &str, password: &str| {
            let more = [
                ("API_KEY", "own"),
                ("DD_URL", url.as_str()),
                ("PROXY_HOST", "127.0.0.1"),
                ("PROXY_PORT", &port),
                ("PROXY_USER", "me"),
                ("PROXY_PASSWORD", password),
                ("CA_CERTS", certificate.to_str().unwrap()),
            ];
            Relay::start_with(&folder.path().join(format!("{scheme} {name}")), None, &more, None)
        };
        let before = receiver.bodies().len();
        let relay = start("good", "secret");
        for number in 1..=3 {
            assert_eq!(post(relay.port, "k", &format!("{scheme} {number}")), Some(200));
        }
        assert_eq!(relay.drained().delivered, 3);
        assert_eq!(receiver.bodies().len(), before + 3);
        let mut relay = start("wrong", "nonsense");
        relay.daemon.as_mut().unwrap().announce("the web proxy wants a user and a password (407)");
        assert_eq!(post(relay.port, "k", "a 1"), Some(200));
        relay.daemon.as_ref().unwrap().wait_for_line("the web proxy wants a user and a password (407)");
        assert_eq!((relay.balance().queued, relay.balance().dead_lettered), (1, 0));
    }
    assert!(
        receiver.paths().iter().all(|path| path == "/stsAgent/intake/?api_key=own"),
        "{:?}",
        receiver.paths()
    );
}

/// An nginx that ends TLS and passes everything on.
fn tls_in_front(certificate: &Path, key: &Path, to: SocketAddr) -> Program {
    Program::start(|folder, address| {
        let configuration = format!(
            "daemon off; master_process off; pid {0}/pid; error_log {0}/error.log; events {{}}\n\
             http {{ access_log off; client_body_temp_path {0}/a; proxy_temp_path {0}/b; fastcgi_temp_path {0}/c;\n\
             uwsgi_temp_path {0}/d; scgi_temp_path {0}/e;\n\
             server {{ listen {address} ssl; ssl_certificate {1}; ssl_certificate_key {2};\n\
             location / {{ proxy_pass http://{to}; }} }} }}\n",
            folder.display(),
            certificate.display(),
            key.display(),
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder).arg("-c").arg(file);
        command
    })
}

fn haproxy(mode: &str, server: &str, more: &str) -> Program {
    Program::start(|folder, address| {
        let configuration = format!(
            "defaults\n mode {mode}\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n{more}\n\
             frontend forwarder\n bind {address}\n default_backend relay\nbackend relay\n server one {server}\n"
        );
        let file = folder.join("haproxy.cfg");
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new("haproxy");
        command.arg("-f").arg(file);
        command
    })
}

#[test]
fn behind_a_haproxy_each_agent_is_itself() {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start();
    let more = [("API_KEY", "own"), ("TRUSTED_PROXIES", "127.0.0.1")];
    let relay = Relay::start(folder.path(), receiver.address, &more);
    let front = haproxy("http", &format!("127.0.0.1:{} check", relay.port), " option forwardfor");
    let url = format!("http://{}/intake/?api_key=k", front.address);
    for (agent, number) in [("127.0.0.5", 1), ("127.0.0.6", 2)] {
        let body = format!("agent {number}");
        let said = run(Command::new("curl").args(["-sS", "--interface", agent, "-d", &body, &url]));
        assert_eq!(said, "Transaction: None");
    }
    assert_eq!(relay.drained().delivered, 2);
    let agents = http::get(relay.stats, "/api/v1/agents");
    assert!(agents.contains("\"127.0.0.5 - ") && agents.contains("\"127.0.0.6 - "), "{agents}");
}

#[test]
fn its_statistics_have_the_columns_of_haproxy_and_its_proxy_header_is_understood() {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start();
    let file = folder.path().join("relay.toml");
    let table = format!(
        "[[tcp]]\nname = 'f'\nlisten = '127.0.0.1:0'\naccept_proxy = true\nlog = true\n\
         servers = [{{ name = 's', address = '{}', check = true }}]\n",
        receiver.address
    );
    fs::write(&file, table).unwrap();
    let relay = Relay::start_with(&folder.path().join("data"), None, &[], Some(&file));
    let tcp = relay.daemon.as_ref().unwrap().port("Starting TCP listener", "addr");
    let front = haproxy("tcp", &format!("127.0.0.1:{tcp} send-proxy-v2"), "");
    let url = format!("http://{}/anything", front.address);
    let said = run(Command::new("curl").args(["-sS", "--interface", "127.0.0.9", "-d", "agent 1", &url]));
    assert_eq!(said, "ok");
    relay.daemon.as_ref().unwrap().wait_for_line("127.0.0.9:");

    let real = Program::start(|folder, address| {
        let configuration = format!(
            "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
             listen stats\n bind {address}\n stats enable\n stats uri /\n"
        );
        let file = folder.join("haproxy.cfg");
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new("haproxy");
        command.arg("-f").arg(file);
        command
    });
    let theirs = run(Command::new("curl").args(["-sS", &format!("http://{}/;csv", real.address)]));
    let ours = run(Command::new("curl").args(["-sS", &format!("http://127.0.0.1:{}/;csv", relay.stats)]));
    let head = |csv: &str| csv.lines().next().unwrap().trim_end_matches(',').to_owned();
    assert!(head(&theirs).starts_with(&head(&ours)), "{}\n{}", head(&theirs), head(&ours));
    assert!(ours.contains("\nf,FRONTEND,") && ours.contains("\nf,s,"), "{ours}");
}

#[test]
fn the_datadog_client_is_answered_as_it_expects() {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start();
    let relay = Relay::start(folder.path(), receiver.address, &[]);
    let script = format!(
        "from datadog import initialize, api\n\
         initialize(api_key='apikey', app_key='appkey', api_host='http://127.0.0.1:{}', mute=False)\n\
         print(api.Metric.send(metric='a.b', points=[(1, 2)], host='h'))\n\
         print(api.Event.create(title='t', text='x'))\n\
         print(api.ServiceCheck.check(check='c', host_name='h', status=0))\n\
         print(api.Distribution.send(distributions=[{{'metric': 'd', 'points': [(1, [1.0])]}}]))\n",
        relay.port
    );
    let said = run(Command::new(python_of("dogshell")).args(["-c", &script]));
    assert_eq!(said.lines().count(), 4, "{said}");
    assert!(!said.contains("errors"), "{said}");
    assert_eq!(relay.drained().delivered, 4);
    let paths = receiver.paths();
    for path in ["/api/v1/series", "/api/v1/events", "/api/v1/check_run", "/api/v1/distribution_points"] {
        assert!(paths.iter().any(|told| told.starts_with(path)), "{path} in {paths:?}");
    }
    for entry in fs::read_dir(folder.path().join("queue")).unwrap().flatten() {
        let stored = fs::read(entry.path()).unwrap();
        let text = String::from_utf8_lossy(&stored);
        assert!(!text.contains("apikey") && !text.contains("appkey"), "no key on disk: {text}");
    }
}

#[test]
fn the_trace_client_delivers_its_traces() {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start();
    let relay = Relay::start(folder.path(), receiver.address, &[("API_KEY", "own")]);
    let script = "from ddtrace import tracer\n\
                  with tracer.trace('work', service='tests', resource='one'):\n    pass\n\
                  tracer.flush()\n";
    let mut python = Command::new(python_of("ddtrace-run"));
    python.args(["-c", script]);
    python.env("DD_TRACE_AGENT_URL", format!("http://127.0.0.1:{}", relay.port));
    python
        .env("DD_INSTRUMENTATION_TELEMETRY_ENABLED", "false")
        .env("DD_REMOTE_CONFIGURATION_ENABLED", "false");
    run(&mut python);
    let traces = || receiver.paths().into_iter().find(|path| path.contains("/traces"));
    let path = wait_for("the traces", traces);
    assert!(path.ends_with("/traces?api_key=own"), "{path}");
    assert!(receiver.bodies().iter().any(|body| body.contains("work")), "the span is in it");
}
