//! What a table of a provider may say.

use super::*;

fn read(text: &str) -> Result<Options, Vec<String>> {
    Options::read("lab", toml::Value::Table(text.parse().unwrap()))
}

#[test]
fn every_kind_is_understood() {
    let command = read(
        r#"kind = "command"
        start = ["virsh", "start", "{id}"]
        stop = ["virsh", "shutdown", "{id}"]
        status = ["vm-state", "{id}"]
        address = "10.0.0.17"
        timeout = "5m"
        calls_per_minute = 0"#,
    );
    let command = command.unwrap();
    assert_eq!((command.calls.timeout, command.calls.burst), (Duration::from_secs(300), 20));
    assert!(matches!(command.kind, Kind::Command(_)));
    let Kind::Docker(docker) = read("kind = \"docker\"").unwrap().kind else { panic!() };
    assert_eq!(docker.socket, PathBuf::from("/var/run/docker.sock"));
    assert!(matches!(read("kind = \"systemd\"").unwrap().kind, Kind::Systemd(_)));
    let Kind::WakeOnLan(wake) = read("kind = \"wake-on-lan\"").unwrap().kind else { panic!() };
    assert_eq!((wake.port, wake.broadcast.port()), (22, 9));
    let plugin = read("kind = \"plugin\"\ncommand = [\"x\"]\n[options]\nregion = \"eu\"\n").unwrap();
    let Kind::Plugin(plugin) = plugin.kind else { panic!() };
    assert_eq!(plugin.options["region"].as_str(), Some("eu"));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let check = |text: &str, expected: &str| {
        let told = read(text).unwrap_err().join("\n");
        assert!(told.contains(expected), "{expected} is not in {told}");
    };
    check("", "providers.lab.kind is not told: use command,");
    check("kind = \"docker\"\nsockt = \"x\"", "did you mean socket?");
    check("kind = \"docker\"\nburts = 3", "did you mean burst?");
    check("kind = \"docker\"\nburst = -3", "providers.lab: ");
    check("kind = \"docker\"\nstop_timeout = \"60s\"", "use less than the timeout");
    check("kind = \"plugin\"\ncommand = []", "providers.lab.command is empty");
    assert!(Options::read("lab", 3.into()).unwrap_err().join("").contains("must be a table"));
}
