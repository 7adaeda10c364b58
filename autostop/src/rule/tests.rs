//! What is written in rules, and every problem that is told of them.

use super::*;
use crate::{machine::Pace, ports::Ports, wire};

const BUILD_BOX: &str = r#"
name = "build-box"
kind = "instance"
provider = "lab"
idle_time_mins = 15              # or idle_time = "90s"
min_online = "1m"
custom_domains = ["Build.example.com"]
[filter]
vm_ids = ["build-1"]
[[http.routing]]
source_protocol = "http"
source_port = 80
target_protocol = "http"
target_port = 8080
action = "forward"
[http.health]
protocol = "http"
port = 8080
path = "/healthz"
[tcp.ssh]
port = 22
[[tcp.forward_rule]]
port = 5432
connect_on = 56102               # left out: a free port, the same from then on
"#;

fn around() -> Surroundings {
    Surroundings { providers: vec!["lab".to_owned(), "aws".to_owned()], tcp_ports: 56_000..=56_999 }
}

/// Each text is a file of its own; `…` stands for a name, a provider and a machine.
fn read(texts: &[&str]) -> Result<Rules, Vec<String>> {
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        let file = format!("{at}.toml");
        let text =
            text.replace('…', &format!("name='rule-{at}'\nprovider='lab'\nfilter.vm_ids=['vm-{at}']\n"));
        match parse(&file, &text) {
            Ok(rule) => files.push((file, rule)),
            Err(problem) => problems.push(problem),
        }
    }
    let checked = check(&files, &around());
    match checked {
        Ok(rules) if problems.is_empty() => return Ok(rules),
        Ok(_) => {}
        Err(more) => problems.extend(more),
    }
    Err(problems.iter().map(ToString::to_string).collect())
}

fn check_problems(texts: &[&str], expected: &[&str]) {
    let problems = read(texts).expect_err("there are problems");
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.contains(expected), "{problem:?} instead of {expected:?}");
    }
}

#[test]
fn the_documented_example_holds_and_becomes_a_target() {
    let rules = read(&[BUILD_BOX]).unwrap();
    let rule = rules.get(&RuleId::of("build-box")).unwrap();
    assert_eq!(rule.idle_time, Duration::from_mins(15));
    assert_eq!(rule.resource_ids().collect::<Vec<_>>(), ["build-1"]);
    let mut ports = Ports::default();
    assert_eq!(ports.allot(&rules, &around().tcp_ports), []);
    let target = rule.target(&ports);
    assert_eq!(target.domains, ["build.example.com"]);
    let tcp: Vec<_> = target.tcp.iter().map(|tcp| (tcp.port, tcp.target_port, tcp.preset())).collect();
    assert_eq!(tcp, [(56_000, 22, wire::Preset::Ssh), (56_102, 5432, wire::Preset::Postgres)]);
    let health = target.health.unwrap();
    assert_eq!((health.port, health.path.as_str(), health.status_code_to), (8080, "/healthz", 399));
    assert_eq!((target.wake_grace_ms, target.hold_ms, target.http.len()), (300, 300_000, 1));
    assert_eq!(target.http[0].action(), wire::Action::Forward);
    assert_eq!(rules.settings(rule, Pace::default()).depends_timeout, None);
}

#[test]
fn a_wrong_key_is_told_with_the_one_that_was_meant() {
    check_problems(
        &["…\nidle_tiem='5m'"],
        &["0.toml: idle_tiem: there is no such key; did you mean `idle_time`? (line"],
    );
    check_problems(&["…\nhttp.routing=[{target_prot=80}]"], &["did you mean `target_port`?"]);
    check_problems(&["…\nbanana=1"], &["banana: there is no such key, expected one of `name`"]);
    check_problems(&["…\nmin_online=true"], &["a number of seconds or a duration such as"]);
    check_problems(&["name="], &["(line 1)"]);
}

#[test]
fn all_problems_of_all_files_are_told_at_once() {
    check_problems(
        &[
            "name='a'\nprovider='nobody'\nidle_time='soon'\nwakers=['10.0.0.0/33']",
            "name='a'\nprovider='lab'",
        ],
        &[
            "0.toml: provider: there is no provider `nobody`; configured are: lab, aws",
            "0.toml: idle_time: `soon` is no duration",
            "0.toml: wakers[0]: `10.0.0.0/33` is no CIDR block",
            "0.toml: filter.vm_ids: is missing",
            "1.toml: filter.vm_ids: is missing",
            "1.toml: name: `a` is also the name of the rule in 0.toml",
        ],
    );
}

#[test]
fn each_value_is_checked() {
    for (text, expected) in [
        ("idle_time='0s'", "idle_time: must not be zero"),
        ("idle_time=5\nidle_time_mins=5", "idle_time: is given twice"),
        ("start_timeout=0", "start_timeout: must not be zero"),
        ("idle_time='11y'", "idle_time: is longer than ten years"),
        ("min_online=9223372036854775807", "min_online: is longer than ten years"),
        ("idle_time_mins=9223372036854775807", "idle_time_mins: is longer than ten years"),
        ("[hold]\nmax_time='11y'", "hold.max_time: is longer than ten years"),
        ("[hold]\nmax_clients=0", "hold.max_clients: must not be zero"),
        ("[hold]\nmax_bytes=0", "hold.max_bytes: must not be zero"),
        ("proxy_protocol_out=3", "proxy_protocol_out: must be 0 (none), 1 or 2"),
        ("price_per_hour=-1.0", "price_per_hour: must be a number"),
        ("price_per_hour=nan", "price_per_hour: must be a number"),
        (
            "custom_domains=['a.example.com:80']\n[[http.routing]]",
            "custom_domains[0]: `a.example.com:80` is no host",
        ),
        ("custom_domains=['a.*.com']\n[[http.routing]]", "custom_domains[0]"),
        ("custom_domains=['a.com']", "http.routing: is missing"),
        ("[[http.routing]]", "custom_domains: is missing"),
        (
            "custom_domains=['a.com']\n[[http.routing]]\ntarget_port=0",
            "http.routing[0].target_port: must be from 1",
        ),
        ("custom_domains=['a.com']\n[[http.routing]]\npath='x'", "http.routing[0].path"),
        ("custom_domains=['a.com']\n[[http.routing]]\nredirect_url='/x'", "http.routing[0].redirect_url"),
        ("[http.health]\nstatus_code_from=500\nstatus_code_to=400", "http.health.status_code_from"),
        ("[http.health]\nprotocol='tcp'", "http.health.port: is missing"),
        ("[http.health]\ntimeout=0", "http.health.timeout: must not be zero"),
        ("[[tcp.forward_rule]]", "tcp.forward_rule[0].port: is missing"),
        ("[tcp.ssh]\nconnect_on=80", "tcp.ssh.connect_on: 80 is not in tcpPorts, 56000-56999"),
        ("[tcp.ssh]\n[[tcp.forward_rule]]\nport=22", "tcp.forward_rule[0].port: 22 is forwarded twice"),
        ("params.tags={}", "params.tags: has a place of its own in the rule"),
        ("params.x=2026-01-31", "params.x: has a date or a number without end in it"),
        ("params.x=[{y=inf}]", "params.x: has a date or a number without end in it"),
        ("idle_action='dream'", "unknown variant `dream`, expected `shutdown` or `hibernate`"),
        ("filter.tags={a='b'}", "filter.tags: and ids are given; keep one of them"),
        ("[[certificates]]\ncert_secret_id='a'", "certificates[0].key_secret_id: is missing"),
        ("[[exclusions]]", "exclusions[0]: is empty"),
        ("[[inclusions]]\nclient='home'", "inclusions[0].client: `home` is no CIDR block"),
        ("[[schedule]]\ntime_zone='Mars'", "schedule[0].time_zone: `Mars` is no time zone"),
        ("[[schedule]]\ntime_zone='UTC'\ndays=['someday']", "schedule[0].days: `someday` is no day"),
        (
            "[[schedule]]\ntime_zone='UTC'\nstart_time='9'\nend_time='10:00'",
            "schedule[0].start_time: `9` is no time",
        ),
        ("[[schedule]]\ntime_zone='UTC'\nstart_time='09:00'", "schedule[0].end_time: and start_time belong"),
        (
            "[[schedule]]\ntime_zone='UTC'\nstarting_from='soon'",
            "schedule[0].starting_from: `soon` is no date",
        ),
        (
            "[[schedule]]\ntime_zone='UTC'\nstarting_from='2026-02-01'\nending_on='2026-01-31'",
            "schedule[0].ending_on: must be after",
        ),
        ("[[schedule]]\ntime_zone='UTC'\npriority=0", "schedule[0].priority"),
        ("[[schedule]]\ntime_zone='UTC'\nforce=true", "schedule[0].force"),
        ("[[depends]]\nrule='rule-9'", "depends[0].rule: there is no rule `rule-9`; did you mean `rule-0`?"),
        ("[[depends]]\nrule='rule-0'", "depends: the rules wait for each other: rule-0 → rule-0"),
    ] {
        check_problems(&[&format!("…\n{text}")], &[expected]);
    }
    let late = "…\n[[depends]]\nrule='rule-1'\ndelay_in_sec=9223372036854775807";
    check_problems(&[late, "…"], &["depends[0].delay_in_sec: is longer than ten years"]);
}

#[test]
fn rules_must_not_clash() {
    let ssh = "…\n[tcp.ssh]\nconnect_on=56001";
    check_problems(&[ssh, ssh], &["1.toml: tcp.connect_on: 56001 is taken by the rule `rule-0`"]);
    let web = "…\ncustom_domains=['a.com','b.com']\n[[http.routing]]\npath='/x'";
    let other = "…\ncustom_domains=['B.com']\n[[http.routing]]\npath='/x'";
    check_problems(
        &[web, other],
        &["1.toml: http.routing: b.com:80/x is routed by the rule `rule-0` already"],
    );
    assert!(read(&[web, &other.replace("/x", "/y")]).is_ok());
    let secure = "…\ncustom_domains=['c.com']\n[[http.routing]]\nsource_protocol='https'\nsource_port=80";
    check_problems(&[web, secure], &["80 speaks the other protocol for the rule `rule-0`"]);
    check_problems(
        &["…\ndepends=[{rule='rule-1'}]", "…\ndepends=[{rule_id='rule-2'}]", "…\ndepends=[{rule='rule-0'}]"],
        &["0.toml: depends: the rules wait for each other: rule-0 → rule-1 → rule-2 → rule-0"],
    );
}

#[test]
fn a_port_is_either_of_http_or_of_tcp() {
    let web = "…\ncustom_domains=['a.com']\n[[http.routing]]\nsource_port=56001";
    let ssh = "…\n[tcp.ssh]\nconnect_on=56001";
    check_problems(&[web, ssh], &["1.toml: tcp.connect_on: 56001 is taken by the rule `rule-0`"]);
    check_problems(&[ssh, web], &["0.toml: tcp.connect_on: 56001 is taken by the rule `rule-1`"]);
    // What is allotted keeps clear of it, and what was allotted before stays.
    let (rules, mut ports) = (read(&[web, "…\n[tcp.ssh]"]).unwrap(), Ports::default());
    assert_eq!(ports.allot(&rules, &(56_001..=56_002)), []);
    assert_eq!(ports.get(&RuleId::of("rule-1"), 22), Some(56_002));
    assert_eq!(ports.allot(&read(&[web, "…\n[tcp.ssh]\n[tcp.rdp]"]).unwrap(), &(56_001..=56_002)).len(), 1);
    let mut before = Ports::default();
    before.allot(&read(&["…", "…\n[tcp.ssh]"]).unwrap(), &(56_001..=56_002));
    before.allot(&rules, &(56_001..=56_002));
    assert_eq!(before.get(&RuleId::of("rule-1"), 22), Some(56_001));
}

#[test]
fn a_rule_of_json_is_refused_as_one_of_toml_is() {
    let check = |told: serde_json::Value, key: &str, expected: &str| {
        let problem = from_json("it", told).unwrap_err();
        assert_eq!(problem.key, key);
        assert!(problem.message.contains(expected), "{problem}");
    };
    check(serde_json::json!({ "idle_tiem": 1 }), "idle_tiem", "did you mean `idle_time`?");
    check(serde_json::json!({ "params": { "a": [u64::MAX] } }), "params.a[0]", "is more than");
    check(serde_json::json!({ "wakers": 1 }), "", "expected a sequence");
    let file = from_json("it", serde_json::json!({ "name": "a", "idle_time": null, "tcp": { "ssh": null } }));
    assert_eq!(file.unwrap(), RuleFile { name: "a".to_owned(), ..RuleFile::default() });
}

#[test]
fn ids_follow_from_names_for_good() {
    assert_eq!(RuleId::of("build-box-1").as_str(), "build-box-1");
    assert_eq!(RuleId::of("Build Box").as_str(), "build-box-0ce452e64ba32776");
    assert_ne!(RuleId::of("Build Box"), RuleId::of("build Box"));
    assert_eq!(RuleId::of(RuleId::of("Ümläut").as_str()), RuleId::of("Ümläut"), "an id names itself");
}

#[test]
fn a_rule_waits_for_what_it_depends_on_as_long_as_that_may_take() {
    let times = "start_timeout='1m'\nstop_timeout='10s'";
    let rules = read(&[
        &format!("…\n{times}"),
        &format!("…\n{times}\ndepends=[{{rule='rule-0',delay_in_sec=5}}]"),
        "…\ndepends=[{rule='rule-1'},{rule='rule-0'}]",
    ])
    .unwrap();
    let rule = rules.get(&RuleId::of("rule-2")).unwrap();
    let patience = rules.settings(rule, Pace::default()).depends_timeout;
    assert_eq!(patience, Some(Duration::from_secs(75 + 70)));
}

#[test]
fn a_rule_written_again_is_the_same() {
    let file = parse("a", BUILD_BOX).unwrap();
    let again = toml::to_string(&file).unwrap();
    assert_eq!(parse("b", &again).unwrap(), file);
    let json = serde_json::to_value(&file).unwrap();
    assert_eq!(from_json("c", json).unwrap(), file);
    let more = format!("{BUILD_BOX}\n[params]\ntext = \"a\"\n[params.deep]\nlist = [1.5, {{ b = true }}]\n");
    let file = parse("d", &more).unwrap();
    assert_eq!(parse("e", &written(&file)).unwrap(), file);
    assert!(!written(&file).contains("wakers"), "{}", written(&file));
}

mod hostile {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", key in "[a-z_.]{1,20}", value in "[-0-9a-z'\"\\[\\]{}=,:.]{0,20}") {
            for text in [text, format!("{BUILD_BOX}\n{key}={value}")] {
                if let Ok(file) = parse("a", &text) {
                    drop(check(&[("a".to_owned(), file)], &around()));
                }
            }
        }
    }
}
