//! Real commands, and what is put into them.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use super::*;

fn target(ids: &[&str]) -> Target {
    Target { ids: ids.iter().map(|id| (*id).to_owned()).collect(), ..Target::default() }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// A machine whose state is a file.
fn machine(folder: &std::path::Path) -> Command {
    let script = folder.join("vm");
    let text = r#"#!/bin/sh
cd "$(dirname "$0")"
case $1 in
start) [ "$2" = full ] && { echo "no room" >&2; exit 69; }; echo running >"state-$2" ;;
stop) [ "$2" = slow ] && { sleep 600 & sleep 600; }; echo "shut off" >"state-$2" ;;
status) [ -e "state-$2" ] && cat "state-$2" || { echo "no $2" >&2; exit 66; } ;;
describe) echo "10.0.0.7 host:80 <junk>" ;;
esac
"#;
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let argv = |op: &str| vec![script.display().to_string(), op.to_owned(), "{id}".to_owned()];
    Command::new(options::Command {
        start: argv("start"),
        stop: argv("stop"),
        hibernate: Vec::new(),
        status: argv("status"),
        describe: argv("describe"),
        address: None,
    })
}

#[tokio::test]
async fn it_starts_stops_and_sees_what_the_commands_do() {
    let folder = tempfile::tempdir().unwrap();
    let machine = machine(folder.path());
    let both = target(&["a", "b"]);
    machine.start(&target(&["a"]), soon()).await.unwrap();
    let seen = machine.status(&both, soon()).await.unwrap();
    assert_eq!((seen["a"].status, seen["b"].status), (Status::Running, Status::Missing));
    let seen = machine.describe(&both, soon()).await.unwrap();
    assert_eq!(seen["a"].addresses, ["10.0.0.7", "host:80"]);
    machine.stop(&both, Stop::Shutdown, soon()).await.unwrap();
    let seen = machine.status(&both, soon()).await.unwrap();
    assert_eq!((seen["a"].status, seen["b"].status), (Status::Stopped, Status::Stopped));
}

#[tokio::test]
async fn a_failure_is_told_by_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let machine = machine(folder.path());
    let error = machine.start(&target(&["full"]), soon()).await.unwrap_err();
    assert_eq!(error, Fault::NoCapacity.said("no room"));
    let error = machine.stop(&target(&["a"]), Stop::Hibernate, soon()).await.unwrap_err();
    assert_eq!(error.fault, Fault::Unsupported);
    let moment = Instant::now() + Duration::from_millis(200);
    let error = machine.stop(&target(&["slow"]), Stop::Shutdown, moment).await.unwrap_err();
    assert_eq!(error.fault, Fault::Timeout);
}

#[test]
fn what_is_put_in_is_one_argument_and_never_an_option() {
    let mut target = target(&["vm"]);
    target.params.insert("region".into(), "eu west; rm {id}".into());
    target.params.insert("count".into(), 3.into());
    let filled = |template: &str, id: &str| {
        arguments(&[template.to_owned()], id, &target).map(|mut argv| argv.remove(0)).map_err(|e| e.fault)
    };
    assert_eq!(filled("{id}", "$(reboot) `x` {params.count}").unwrap(), "$(reboot) `x` {params.count}");
    assert_eq!(filled("--in={params.region}/{params.count}", "x").unwrap(), "--in=eu west; rm {id}/3");
    assert_eq!(filled("{\"id\":\"{id}\"} {", "x").unwrap(), "{\"id\":\"x\"} {");
    assert_eq!(filled("{id}", "--all"), Err(Fault::Denied));
    assert_eq!(filled("--vm={id}", "--all").unwrap(), "--vm=--all");
    assert_eq!(filled("{id}", "a\0b"), Err(Fault::Denied));
    assert_eq!(filled("{params.zone}", "x"), Err(Fault::Denied));
}

#[test]
fn a_status_is_our_word_or_that_of_virsh() {
    assert_eq!(status("Running\n\n"), Some(Status::Running));
    assert_eq!(status("shut off"), Some(Status::Stopped));
    assert_eq!(status("it is running"), None);
    assert_eq!(status(""), None);
}
