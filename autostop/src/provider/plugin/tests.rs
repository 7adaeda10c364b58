//! Plug-ins in shell: the example of the documentation, and rude ones.

use std::{fs, path::PathBuf};

use futures::{StreamExt as _, stream::FuturesUnordered};

use super::*;
use crate::provider::{Status, batch::Caller, options::Calls};

/// A plug-in in shell. `answer ID REST` answers; `each` is run for every line after the greeting.
fn script(each: &str) -> options::Plugin {
    let text = format!(
        r#"
answer() {{ printf '{{"id":%s,%s}}\n' "$1" "$2"; }}
ok='"ok":true,"targets":{{"a":{{"status":"running"}}}}'
read -r hello; answer 0 '"ok":true,"version":1'
while read -r line; do
    id=${{line#*:}}; id=${{id%%,*}}
    {each}
done
echo bye >&2"#
    );
    shell(&text)
}

fn shell(text: &str) -> options::Plugin {
    options::Plugin {
        command: ["sh", "-c", text].map(str::to_owned).into(),
        env: Default::default(),
        options: toml::Table::new(),
    }
}

fn plugin(options: options::Plugin) -> (Plugin, Drain) {
    let drain = Drain::default();
    (Plugin::new("test", options, &drain), drain)
}

fn target() -> Target {
    Target { kind: "instance".into(), ids: vec!["a".into()], ..Target::default() }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

async fn status(plugin: &Plugin) -> Result<Status, Error> {
    let call = async { plugin.status(&target(), soon()).await.map(|seen| seen["a"].status) };
    time::timeout(Duration::from_secs(20), call).await.expect("an answer in time")
}

/// Until it is started again, calls are refused.
async fn status_after_restart(plugin: &Plugin) -> Status {
    let deadline = soon();
    loop {
        match status(plugin).await {
            Ok(status) => return status,
            Err(error) => assert_eq!(error.fault, Fault::Unreachable),
        }
        assert!(Instant::now() < deadline);
        // Sleeps: between two looks.
        time::sleep(POLL).await;
    }
}

const POLL: Duration = Duration::from_millis(5);

/// A call whose caller goes away once the plug-in has made this file.
async fn call_and_go(plugin: &Plugin, path: &std::path::Path) {
    tokio::select! {
        answer = status(plugin) => panic!("{answer:?}"),
        () = wait_for(path) => {}
    }
}

/// Until the plug-in has made this file.
async fn wait_for(path: &std::path::Path) {
    let deadline = soon();
    while !path.exists() {
        assert!(Instant::now() < deadline, "{} was not made", path.display());
        // Sleeps: between two looks.
        time::sleep(POLL).await;
    }
}

#[tokio::test]
async fn the_example_of_the_documentation_works() {
    let machines = tempfile::tempdir().unwrap();
    let example = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/provider.sh");
    let env = [("MACHINES".to_owned(), machines.path().display().to_string())].into();
    let command = vec![example.display().to_string()];
    let options = options::Plugin { command, env, options: toml::Table::new() };
    let drain = Drain::default();
    let plugin = Box::new(Plugin::new("example", options, &drain));
    let caller = Caller::over("example", plugin, Calls::default(), &drain);
    let both = Target { ids: vec!["vm-1".into(), "vm-2".into()], ..target() };
    caller.start(&both).await.unwrap();
    assert_eq!(fs::read_to_string(machines.path().join("vm-2")).unwrap(), "running\n");
    caller.stop(&Target { ids: vec!["vm-1".into()], ..target() }, Stop::Shutdown).await.unwrap();
    let three = Target { ids: vec!["vm-1".into(), "vm-2".into(), "vm-3".into()], ..target() };
    let seen = caller.describe(&three).await.unwrap();
    let statuses: Vec<_> = seen.values().map(|seen| seen.status).collect();
    assert_eq!(statuses, [Status::Stopped, Status::Running, Status::Missing]);
    assert_eq!(seen["vm-2"].addresses, ["vm-2.example.com"]);
    for evil in ["../vm-1", "a\"b", "$(x)", ".", "a b/c"] {
        let error = caller.start(&Target { ids: vec![evil.into()], ..target() }).await.unwrap_err();
        assert_eq!(error.fault, Fault::Gone, "{evil}");
    }
    drain.ask();
    drain.idle().await;
    assert_eq!(drain.cut(), 0);
}

#[tokio::test]
async fn the_kind_the_ids_and_the_parameters_go_along() {
    let each =
        r#"answer "$id" "\"error\":{\"kind\":\"denied\",\"message\":\"$(echo "$line" | tr '"' "'")\"}""#;
    let (plugin, _drain) = plugin(script(each));
    let target = Target {
        kind: "database".into(),
        ids: vec!["db-1".into()],
        params: [("region".to_owned(), "eu".into())].into(),
    };
    let error = plugin.stop(&target, Stop::Hibernate, soon()).await.unwrap_err();
    for part in ["'op':'stop'", "'kind':'database'", "'ids':['db-1']", "'how':'hibernate'", "'region':'eu'"] {
        assert!(error.said.contains(part), "{part} is not in {}", error.said);
    }
    assert!(error.said.contains("'deadline_ms':19") || error.said.contains("'deadline_ms':20000"));
}

#[tokio::test]
async fn answers_may_come_in_any_order() {
    let each =
        r#"if [ -z "${held-}" ]; then held=$id; else answer "$id" '"ok":true'; answer "$held" "$ok"; fi"#;
    let (plugin, _drain) = plugin(script(each));
    let (target, deadline) = (target(), soon());
    let (first, second) = tokio::join!(status(&plugin), plugin.start(&target, deadline));
    assert_eq!((first, second), (Ok(Status::Running), Ok(())));
}

#[tokio::test]
async fn a_late_answer_and_garbage_disturb_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let asked = folder.path().join("asked");
    let each = format!(
        r#"
        if [ -z "${{late-}}" ]; then late=$id; touch {}; continue; fi
        answer "$late" '"error":{{"kind":"gone"}}'; answer 12345 "$ok"; echo garbage; head -c 3000000 /dev/zero; echo
        echo "$id"; answer "$id" "$ok""#,
        asked.display()
    );
    let (plugin, _drain) = plugin(script(&each));
    call_and_go(&plugin, &asked).await;
    assert_eq!(status(&plugin).await, Ok(Status::Running));
    // Two answers that nobody waited for, a word, a line that is too long, and a bare number.
    assert_eq!(plugin.dropped_lines(), 5);
}

#[tokio::test]
async fn a_crash_during_a_call_is_an_error_and_the_next_call_finds_it_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("crashed").display().to_string();
    let each = format!(r#"if [ -e {marker} ]; then answer "$id" "$ok"; else touch {marker}; kill -9 $$; fi"#);
    let (plugin, _drain) = plugin(script(&each));
    assert_eq!(status(&plugin).await.unwrap_err().fault, Fault::Interrupted);
    assert_eq!(status_after_restart(&plugin).await, Status::Running);
}

#[tokio::test]
async fn one_that_hangs_is_given_up_and_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("hung-").display().to_string();
    let each = format!(r#"if [ -e {marker}3 ]; then answer "$id" "$ok"; else touch {marker}$id; fi"#);
    let (plugin, _drain) = plugin(script(&each));
    for id in 1..=3 {
        call_and_go(&plugin, std::path::Path::new(&format!("{marker}{id}"))).await;
    }
    assert_eq!(status(&plugin).await.unwrap_err().fault, Fault::Interrupted);
    assert_eq!(status_after_restart(&plugin).await, Status::Running);
}

#[tokio::test]
async fn one_that_does_not_read_holds_nobody_up() {
    let (plugin, _drain) =
        plugin(shell(r#"read -r hello; echo '{"id":0,"ok":true,"version":1}'; exec sleep 600"#));
    let mut long = target();
    long.params.insert("text".into(), "x".repeat(100_000).into());
    let calls = (0..MOST_WAITING + 10).map(|_| plugin.status(&long, soon()));
    let mut calls: FuturesUnordered<_> = calls.collect();
    let first = calls.next().await.unwrap().unwrap_err();
    assert_eq!(first.fault, Fault::Unreachable);
}

#[tokio::test]
async fn what_does_not_greet_in_our_version_is_refused_with_the_reason() {
    let check = async |text: &str, expected: &str| {
        let (plugin, _drain) = plugin(shell(text));
        let deadline = soon();
        let said = loop {
            let error = plugin.start(&target(), deadline).await.unwrap_err();
            assert!(Instant::now() < deadline);
            if error.fault == Fault::Unreachable {
                break error.said;
            }
        };
        assert!(said.contains(expected), "{said}");
    };
    check(r#"read -r x; echo '{"id":0,"ok":true,"version":9}'; read -r x"#, "it speaks version 9, not 1")
        .await;
    check("echo nonsense", "it ended before it answered").await;
    check(
        r#"read -r x; echo '{"id":0,"error":{"kind":"denied","message":"no key"}}'"#,
        "not allowed: no key",
    )
    .await;
    let (plugin, _drain) = plugin(options::Plugin {
        command: vec!["/no/such/plugin".into()],
        env: Default::default(),
        options: toml::Table::new(),
    });
    let call = time::timeout(Duration::from_secs(10), status_fault(&plugin)).await.unwrap();
    assert_eq!(call, Fault::Unreachable);
}

async fn status_fault(plugin: &Plugin) -> Fault {
    status(plugin).await.unwrap_err().fault
}

#[tokio::test]
async fn at_the_stop_its_input_ends_and_it_may_finish_what_it_was_asked() {
    let folder = tempfile::tempdir().unwrap();
    let [asked, ended] = ["asked", "ended"].map(|name| folder.path().join(name));
    let text = format!(
        r#"read -r hello; echo '{{"id":0,"ok":true,"version":1}}'
        read -r line; touch {}; sleep 0.3; echo '{{"id":1,"ok":true}}'
        read -r line || touch {}"#,
        asked.display(),
        ended.display()
    );
    let (plugin, drain) = plugin(shell(&text));
    let stop = async {
        wait_for(&asked).await;
        drain.ask();
    };
    let target = target();
    let (started, ()) = tokio::join!(plugin.start(&target, soon()), stop);
    assert_eq!(started, Ok(()));
    drain.idle().await;
    assert!(ended.exists());
    assert_eq!(drain.cut(), 0);
    assert_eq!(plugin.start(&target, soon()).await.unwrap_err().fault, Fault::Unreachable);
}

#[tokio::test]
async fn a_stop_that_is_insisted_on_kills_it_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let [fifo, asked] = ["fifo", "asked"].map(|name| folder.path().join(name));
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let each = format!("exec 3>{}; touch {}; sleep 600 & sleep 600", fifo.display(), asked.display());
    let (plugin, drain) = plugin(script(&each));
    let reader = tokio::task::spawn_blocking(|| fs::read(fifo));
    let target = target();
    let insist = async {
        wait_for(&asked).await;
        drain.insist();
    };
    let (answer, ()) = tokio::join!(plugin.start(&target, soon()), insist);
    assert_eq!(answer.unwrap_err().fault, Fault::Interrupted);
    drain.idle().await;
    // It reads as ended once every process that could write to it is gone.
    assert_eq!(reader.await.unwrap().unwrap(), b"");
}
