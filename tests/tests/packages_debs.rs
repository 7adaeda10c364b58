//! Each deb on a Debian with systemd: installed, configured, used, upgraded under load, killed, purged.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{fs, process::Command};

use serde_json::Value;
use tests::{
    docker::{Container, shipped},
    program::run,
    wait::wait_for,
};

const ALL: [(&str, &[&str]); 6] = [
    ("wayside-goproxy", &["goproxy"]),
    ("wayside-forwarder", &["forwarder"]),
    ("wayside-agent-relay", &["agent-relay"]),
    ("wayside-autostop", &["lw_proxy", "lw_tcp_proxy"]),
    ("wayside-autostop-aws", &[]),
    ("wayside-flag-relay", &["flag-relay"]),
];

/// A machine with these packages.
fn machine(packages: &[&str]) -> Container {
    let machine = Container::machine();
    for package in packages {
        machine.put(&shipped(&format!("{package}_"), ".deb"), "/srv/");
        machine.shell(&format!("dpkg --install /srv/{package}_*.deb"));
    }
    machine
}

fn journal(machine: &Container, unit: &str) -> Vec<Value> {
    let lines = machine.shell(&format!("journalctl --unit={unit} --output=json --no-pager"));
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Requests one after the other, each on a connection of its own.
struct Load<'a> {
    machine: &'a Container,
}

impl<'a> Load<'a> {
    /// Runs this command, which prints the code of an answer, until the end.
    fn start(machine: &'a Container, command: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("load.sh");
        fs::write(&script, format!("until [ -e /srv/stop ]; do {command}; echo; done > /srv/load 2>&1\n"))
            .unwrap();
        machine.put(&script, "/srv/load.sh");
        machine.shell("rm --force /srv/stop; systemd-run --quiet --collect --unit=load sh /srv/load.sh");
        let load = Self { machine };
        load.wait_for_more();
        load
    }

    fn wait_for_more(&self) {
        let answered = || self.machine.shell("wc -l < /srv/load").trim().parse::<u64>().unwrap();
        let then = answered();
        wait_for("more load", || (answered() > then + 20).then_some(()));
    }

    /// Ends it after some more: each was answered, and like this.
    fn end(self, code: &str) {
        self.wait_for_more();
        self.machine.shell("touch /srv/stop");
        wait_for("the end of the load", || (!self.machine.is_active("load")).then_some(()));
        let others =
            self.machine.shell(&format!("grep --invert-match --line-regexp {code} /srv/load || true"));
        assert_eq!(others, "", "every request was answered");
    }
}

/// Installs a package again, and waits until another process runs each of these units.
fn upgrade(machine: &Container, package: &str, units: &[&str]) {
    let process = |unit: &&str| machine.shown(unit, "MainPID");
    let before: Vec<_> = units.iter().map(process).collect();
    machine.shell(&format!("dpkg --install /srv/{package}_*.deb"));
    for (unit, before) in units.iter().zip(before) {
        machine.wait_until_active(unit);
        assert_ne!(process(unit), before, "{unit} is the new one");
    }
}

/// Has a unit read its configuration again: refused when that is wrong, done when it is right, and by the same process.
fn reload(machine: &Container, unit: &str, file: &str) {
    let pid = machine.shown(unit, "MainPID");
    // At the start, where it is in no table.
    machine.shell(&format!("cp {file} /srv/good; (echo 'no_such_key = 1'; cat /srv/good) > {file}"));
    assert!(!machine.does(&format!("systemctl reload {unit}")), "{unit}");
    machine.shell(&format!("cat /srv/good > {file}; systemctl reload {unit}"));
    let line = "what can be read again is read now; other settings wait for a restart";
    wait_for(line, || journal(machine, unit).iter().any(|told| told["MESSAGE"] == line).then_some(()));
    assert_eq!(machine.shown(unit, "MainPID"), pid, "{unit}");
    assert!(machine.is_active(unit), "{unit}");
}

/// A command that prints the code of the answer from there.
fn code_of(what: &str) -> String {
    format!("curl --silent --output /dev/null --write-out '%{{http_code}}' --max-time 30 {what}")
}

#[test]
fn lintian_finds_nothing() {
    for (package, _) in ALL {
        let deb = shipped(&format!("{package}_"), ".deb");
        let output = Command::new("lintian")
            .args(["--fail-on=error,warning", "--tag-display-limit=0", "--allow-root", "--profile=debian"])
            .args([
                "--suppress-tags-from-file",
                concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/deb/lintian"),
            ])
            .arg(&deb)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{package}:\n{told}{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn capture_lives_its_life() {
    let machine = machine(&["wayside-forwarder", "wayside-goproxy"]);
    machine.wait_until_active("forwarder");
    // It cannot know where the service is.
    assert!(!machine.is_active("goproxy"));
    assert_eq!(machine.shown("goproxy", "UnitFileState"), "enabled");
    let mode = machine.shell("stat --format='%a %U:%G' /etc/wayside/goproxy.toml");
    assert_eq!(mode.trim(), "640 root:wayside-goproxy");

    let settings = "proxy_type = 'reverse'\nreverse_proxy_host = '127.0.0.1'\nreverse_proxy_port = 8889\n\
                    app_label = 'shop'\napp_pod_name = 'shop-1'\nforwarder_addr = '127.0.0.1:8888'\n";
    machine.shell(&format!("printf \"%s\" \"{settings}\" > /etc/wayside/goproxy.toml"));
    machine.shell("systemctl start goproxy");
    assert!(machine.is_active("goproxy"));
    assert!(machine.shell("curl --fail --silent http://127.0.0.1:4143/livez").contains("ok"));
    wait_for("the exchange to be stored", || {
        machine.does("forwarder query --path /livez | grep -q shop").then_some(())
    });

    let lines = journal(&machine, "goproxy");
    let started =
        lines.iter().find(|line| line["MESSAGE"] == "Successfully registered with forwarder").unwrap();
    // Notice: the journal has one priority more than there are levels below warn.
    assert_eq!(started["PRIORITY"], "5");
    assert!(machine.shell("systemctl status goproxy").contains("active (running)"));

    // A crash is not the end.
    machine.shell("systemctl kill --signal=KILL goproxy");
    wait_for("a restart", || (machine.shown("goproxy", "NRestarts") == "1").then_some(()));
    machine.wait_until_active("goproxy");

    // A configuration that is wrong is refused to whoever asks for it, and is not tried again and again.
    machine.shell(
        "cp /etc/wayside/goproxy.toml /srv/good.toml; echo 'proxy_in_prot = 1' >> /etc/wayside/goproxy.toml",
    );
    assert!(!machine.does("systemctl reload goproxy"));
    assert!(machine.is_active("goproxy"));
    assert!(!machine.does("systemctl restart goproxy"));
    wait_for("it to have failed", || (machine.shown("goproxy", "ActiveState") == "failed").then_some(()));
    assert_eq!(machine.shown("goproxy", "NRestarts"), "0");
    let told = journal(&machine, "goproxy");
    assert!(
        told.iter().any(|line| line["MESSAGE"].to_string().contains("did you mean proxy_in_port?")),
        "{told:?}"
    );
    machine.shell("cp /srv/good.toml /etc/wayside/goproxy.toml; systemctl reset-failed goproxy; systemctl start goproxy");
    reload(&machine, "goproxy", "/etc/wayside/goproxy.toml");
    reload(&machine, "forwarder", "/etc/wayside/forwarder.toml");

    // What the administrator wrote stays, what was captured is there after an upgrade, and nobody was refused.
    let load = Load::start(&machine, &code_of("http://127.0.0.1:4143/livez"));
    upgrade(&machine, "wayside-goproxy", &["goproxy"]);
    upgrade(&machine, "wayside-forwarder", &["forwarder"]);
    load.end("200");
    assert!(machine.does("grep -q shop-1 /etc/wayside/goproxy.toml"));
    wait_for("what was captured", || {
        machine.does("forwarder query --path /livez | grep -q shop").then_some(())
    });

    machine.shell("dpkg --purge wayside-goproxy wayside-forwarder");
    assert!(
        !machine
            .does("ls -d /etc/wayside /var/lib/wayside /usr/bin/goproxy /lib/systemd/system/goproxy.service")
    );
    assert!(!machine.does("systemctl cat goproxy"));
}

#[test]
fn every_unit_is_in_a_cage_and_every_page_can_be_read() {
    let names: Vec<_> = ALL.iter().map(|(package, _)| *package).collect();
    let machine = machine(&names);
    for binary in ALL.iter().flat_map(|(_, binaries)| *binaries) {
        machine.shell(&format!("systemd-analyze verify /lib/systemd/system/{binary}.service"));
        let told = machine.shell(&format!("systemd-analyze security --no-pager {binary}.service | tail -1"));
        let exposure: f64 = told.split_whitespace().find_map(|word| word.parse().ok()).unwrap();
        assert!(exposure <= 2.0, "{told}");
        assert!(machine.shell(&format!("MANWIDTH=80 man --locale=C 8 {binary}")).contains("SIGTERM"));
        for completions in ["/usr/share/bash-completion/completions/", "/usr/share/zsh/vendor-completions/_"]
        {
            assert!(machine.does(&format!("test -s {completions}{binary}")), "{binary}");
        }
        assert!(machine.shell(&format!("{binary} --version")).contains(binary));
    }
    for page in [
        "goproxy.toml",
        "forwarder.toml",
        "agent-relay.toml",
        "flag-relay.toml",
        "lw_proxy.toml",
        "lw_proxy-rules",
    ] {
        assert!(machine.shell(&format!("man --locale=C 5 {page}")).contains("EXAMPLE"), "{page}");
    }
}

/// A provider whose only target is always up and on this machine.
const PROVIDER: &str = "[providers.here]\nkind = \"command\"\naddress = \"127.0.0.1\"\nstart = [\"/bin/true\"]\n\
                        stop = [\"/bin/true\"]\nstatus = [\"/bin/echo\", \"running\"]\n";

#[test]
fn autostop_is_upgraded_under_load_and_takes_up_a_new_token() {
    let machine = machine(&["wayside-forwarder", "wayside-autostop"]);
    machine.wait_until_active("lw_proxy");
    machine.wait_until_active("lw_tcp_proxy");
    assert_eq!(
        machine.shell("stat --format='%a %U:%G' /var/lw_proxy/config.toml").trim(),
        "640 root:wayside-autostop"
    );
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str, to: &str| {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        machine.put(&file, to);
    };
    let config = format!(
        "accessPointID=\"ap-1\"\nproxyPort=8093\nusageTrackingPort=8094\nauthToken=\"first\"\naccountID=\"acme\"\n{PROVIDER}"
    );
    put("config.toml", &config, "/var/lw_proxy/config.toml");
    let rule = "name = 'box'\nprovider = 'here'\nfilter.vm_ids = ['box']\ncustom_domains = ['box.example']\n\
                [[http.routing]]\nsource_port = 80\ntarget_port = 8889\n";
    put("box.toml", rule, "/var/lw_proxy/rules.d/box.toml");
    machine.shell("chgrp wayside-autostop /var/lw_proxy/config.toml; chmod 0640 /var/lw_proxy/config.toml; chmod 0644 /var/lw_proxy/rules.d/box.toml");
    machine.shell("systemctl restart lw_proxy");
    let get = code_of("-H 'Host: box.example' http://127.0.0.1/livez");
    wait_for("the target to answer", || (machine.shell(&get) == "200").then_some(()));

    let load = Load::start(&machine, &get);
    reload(&machine, "lw_proxy", "/var/lw_proxy/config.toml");
    reload(&machine, "lw_tcp_proxy", "/var/lw_proxy/config.toml");
    upgrade(&machine, "wayside-autostop", &["lw_proxy", "lw_tcp_proxy"]);
    load.end("200");

    // The key is rotated as documented: in the file, without a restart.
    let pid = machine.shown("lw_proxy", "MainPID");
    let with = |token: &str| {
        machine.shell(&format!(
            "curl --silent --output /dev/null --write-out '%{{http_code}}' -H 'Authorization: Bearer {token}' \
             http://127.0.0.1:8093/gateway/lw/api/accounts/acme/autostopping/rules"
        ))
    };
    assert_eq!((with("first").as_str(), with("second").as_str()), ("200", "401"));
    machine.shell("sed -i 's/first/second/' /var/lw_proxy/config.toml");
    wait_for("the new key", || (with("second") == "200").then_some(()));
    assert_eq!(with("first"), "401");
    assert_eq!(machine.shown("lw_proxy", "MainPID"), pid);
    assert!(machine.shell("curl --silent http://127.0.0.1:8093/").contains("acme"));
    let told = journal(&machine, "lw_tcp_proxy");
    let traffic = told.iter().find(|line| line["MESSAGE"] == "traffic").unwrap();
    assert!(traffic.to_string().contains("GET box.example/livez"), "{traffic}");
    assert!(machine.shell("systemctl status lw_proxy").contains("active (running)"));
}

#[test]
fn a_relay_keeps_its_queue_through_an_upgrade() {
    let machine = machine(&["wayside-agent-relay"]);
    assert!(!machine.is_active("agent-relay"), "it does not know where to");
    machine.shell("echo 'dd_url = [\"http://127.0.0.1:9\"]' > /etc/wayside/agent-relay.toml; systemctl start agent-relay");
    let post = "curl --fail --silent --data '{}' http://127.0.0.1:17123/intake?api_key=0123456789abcdef";
    machine.shell(post);
    let queued = || {
        let told = machine.shell("curl --silent http://127.0.0.1:3835/api/v1/balance");
        serde_json::from_str::<Value>(&told).unwrap()["queued"].as_u64()
    };
    assert_eq!(queued(), Some(1));
    let load = Load::start(&machine, &code_of("http://127.0.0.1:17123/status"));
    reload(&machine, "agent-relay", "/etc/wayside/agent-relay.toml");
    upgrade(&machine, "wayside-agent-relay", &["agent-relay"]);
    load.end("200");
    assert_eq!(queued(), Some(1));
    machine.shell("dpkg --remove wayside-agent-relay");
    assert!(machine.does("test -d /var/lib/wayside/agent-relay/queue"), "removing a package loses nothing");
    machine.shell("dpkg --purge wayside-agent-relay");
    assert!(!machine.does("test -e /var/lib/wayside/agent-relay"));
}

#[test]
fn flags_are_served_through_an_upgrade() {
    let machine = machine(&["wayside-flag-relay"]);
    machine.shell(
        "mkdir -p /etc/wayside/flags; \
         printf 'offline = true\nconfig_dir = \"/etc/wayside/flags\"\n' > /etc/wayside/flag-relay.toml; \
         printf 'environment: 11111111-1111-4111-8111-111111111111\nkeys: [sdk-key]\nflags: {dark: {}}\n' \
         > /etc/wayside/flags/shop.yaml",
    );
    machine.shell("systemctl restart flag-relay");
    let sign_in = code_of(
        "-H 'Content-Type: application/json' --data '{\"apiKey\": \"sdk-key\"}' \
         http://127.0.0.1:7000/client/auth",
    );
    let load = Load::start(&machine, &sign_in);
    reload(&machine, "flag-relay", "/etc/wayside/flag-relay.toml");
    upgrade(&machine, "wayside-flag-relay", &["flag-relay"]);
    load.end("200");
}

#[test]
fn the_checksums_are_those_of_the_files() {
    let sums = shipped("SHA256SUMS", "");
    let folder = sums.parent().unwrap();
    run(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(folder));
}
