//! What runs at Amazon is put to sleep and woken, however slow and rude Amazon is: machines, scale groups, databases and
//! container services, by the plug-in alone.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, net::SocketAddr, process::Command};

use serde_json::{Value, json};
use tests::{
    amazon::{Amazon, REGION},
    daemon::binary,
    plugin::Plugin,
    program::Program,
    rude::{Manner, Rude},
};

fn command(endpoint: &str) -> Command {
    let mut command = Command::new(binary("autostop-provider-aws"));
    command.env_clear().env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    command.env("AWS_ENDPOINT_URL", endpoint).env("AWS_REGION", REGION);
    command
}

fn plugin_at(address: SocketAddr) -> Plugin {
    Plugin::start(command(&format!("http://{address}")), &json!({}))
}

fn before(amazon: &Amazon) -> (Plugin, Rude) {
    let rude = Rude::before(amazon.address());
    (plugin_at(rude.address), rude)
}

fn fault(answer: &Value) -> &str {
    answer["error"]["kind"].as_str().unwrap_or_else(|| panic!("an error in {answer}"))
}

fn taken(answer: &Value) {
    assert_eq!(answer["ok"], true, "{answer}");
}

#[test]
fn a_machine_is_stopped_and_started_by_its_id() {
    let amazon = Amazon::start();
    let id = amazon.machine(&[]);
    let (mut plugin, _) = before(&amazon);
    let (none, ids) = (json!({}), [id.as_str()]);
    assert_eq!(plugin.status(&id, "instance", &none), "running");
    for _ in 0..2 {
        taken(&plugin.ask("stop", &ids, "instance", &none));
    }
    assert_eq!(
        (plugin.status(&id, "instance", &none), amazon.machine_is(&id)),
        ("stopped".into(), "stopped".into())
    );
    for _ in 0..2 {
        taken(&plugin.ask("start", &ids, "instance", &none));
    }
    assert_eq!(amazon.machine_is(&id), "running");
    let told = plugin.ask("describe", &ids, "instance", &none);
    let private = told["targets"][&id]["addresses"][0].as_str().unwrap();
    assert!(private.starts_with("10."), "{told}");
    let public = plugin.ask("describe", &ids, "instance", &json!({ "address": "public" }));
    assert_ne!(public["targets"][&id]["addresses"][0], private);
    let fixed = plugin.ask("describe", &ids, "instance", &json!({ "host": "web.example.com" }));
    assert_eq!(fixed["targets"][&id]["addresses"], json!(["web.example.com"]));
    plugin.end();
}

#[test]
fn many_machines_are_one_question_and_one_that_is_not_there_hides_none() {
    let amazon = Amazon::start();
    let mut ids: Vec<_> = (0..3).map(|_| amazon.machine(&[])).collect();
    ids.push("i-0123456789abcdef0".to_owned());
    ids.push("no id at all".to_owned());
    let (mut plugin, rude) = before(&amazon);
    let borrowed: Vec<_> = ids.iter().map(String::as_str).collect();
    let told = plugin.ask("status", &borrowed, "instance", &json!({}));
    for id in &ids[..3] {
        assert_eq!(told["targets"][id]["status"], "running");
    }
    for id in &ids[3..] {
        assert_eq!(told["targets"][id]["status"], "missing");
    }
    assert_eq!(rude.asked("DescribeInstances"), 1);
    taken(&plugin.ask("stop", &borrowed[..3], "instance", &json!({})));
    assert_eq!(rude.asked("StopInstances"), 1);
    assert_eq!(fault(&plugin.ask("start", &borrowed[3..4], "instance", &json!({}))), "gone");
}

#[test]
fn machines_are_found_by_their_tags_and_are_one() {
    let amazon = Amazon::start();
    let (first, second) = (amazon.machine(&[("team", "core")]), amazon.machine(&[("team", "core")]));
    let other = amazon.machine(&[("team", "web")]);
    let (mut plugin, _) = before(&amazon);
    let params = json!({ "tags": { "team": "core" }, "regions": [REGION] });
    let id = "tags:team=core";
    assert_eq!(plugin.status(id, "instance", &params), "running");
    taken(&plugin.ask("stop", &[id], "instance", &params));
    let states = [&first, &second, &other].map(|id| amazon.machine_is(id));
    assert_eq!(states, ["stopped", "stopped", "running"]);
    amazon.ask("ec2", "StartInstances", &[("InstanceId.1", &first)]);
    let mixed = plugin.ask("status", &[id], "instance", &params);
    let said = mixed["targets"][id]["error"]["message"].as_str().unwrap();
    assert!(said.contains(&format!("{second} is stopped")), "{mixed}");
    taken(&plugin.ask("start", &[id], "instance", &params));
    let told = plugin.ask("describe", &[id], "instance", &params);
    assert_eq!(told["targets"][id]["addresses"].as_array().unwrap().len(), 2);
    let nobody = json!({ "tags": { "team": "none" } });
    assert_eq!(plugin.status("tags:team=none", "instance", &nobody), "missing");
    assert_eq!(fault(&plugin.ask("start", &["tags:team=none"], "instance", &nobody)), "gone");
    // What was terminated is told of for an hour, and is none of them any more.
    amazon.ask("ec2", "TerminateInstances", &[("InstanceId.1", &first)]);
    assert_eq!(plugin.status(id, "instance", &params), "running");
    amazon.ask("ec2", "TerminateInstances", &[("InstanceId.1", &second)]);
    assert_eq!(plugin.status(id, "instance", &params), "missing");
}

#[test]
fn whatever_amazon_says_becomes_a_kind_of_error_with_its_own_words() {
    let amazon = Amazon::start();
    let id = amazon.machine(&[]);
    let (mut plugin, rude) = before(&amazon);
    for (status, code, expected) in [
        (400, "IncorrectInstanceState", "busy"),
        (400, "InsufficientInstanceCapacity", "no_capacity"),
        (400, "VcpuLimitExceeded", "no_capacity"),
        (403, "UnauthorizedOperation", "denied"),
        (401, "AuthFailure", "denied"),
        (400, "InvalidInstanceID.NotFound", "gone"),
        (400, "UnsupportedOperation", "unsupported"),
        (400, "SomethingNew", "other"),
    ] {
        rude.will("StartInstances", [Manner::Refuse(status, code)]);
        let answer = plugin.ask("start", &[&id], "instance", &json!({}));
        assert_eq!(fault(&answer), expected, "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert_eq!(message, format!("{code}: {code}, as it was told"));
    }
    // These are tried again by the SDK, up to three times.
    for (manner, expected) in [
        (Manner::Refuse(503, "RequestLimitExceeded"), "throttled"),
        (Manner::Refuse(500, "InternalError"), "interrupted"),
        (Manner::Reset, "interrupted"),
    ] {
        rude.will("StopInstances", vec![manner; 3]);
        assert_eq!(fault(&plugin.ask("stop", &[&id], "instance", &json!({}))), expected);
    }
    assert_eq!((rude.still_rude(), rude.done("StopInstances")), (0, 0));
    assert_eq!(amazon.machine_is(&id), "running");
    rude.will("StopInstances", [Manner::Refuse(503, "RequestLimitExceeded"), Manner::Lose]);
    taken(&plugin.ask("stop", &[&id], "instance", &json!({})));
    assert_eq!((amazon.machine_is(&id), rude.done("StopInstances")), ("stopped".into(), 2));
    rude.will("StopInstances", [Manner::Refuse(400, "UnsupportedHibernationConfiguration")]);
    let answer = plugin.ask("stop", &[&id], "instance", &json!({ "how": "hibernate" }));
    assert_eq!(fault(&answer), "unsupported");
    for (kind, params) in [
        ("k8s", json!({})),
        ("instance", json!({ "regions": ["a", "b"] })),
        ("instance", json!({ "tags": 1 })),
    ] {
        assert_eq!(fault(&plugin.ask("start", &[&id], kind, &params)), "unsupported");
    }
}

#[test]
fn a_call_that_is_not_answered_ends_at_its_deadline_and_holds_nobody_else() {
    let amazon = Amazon::start();
    let id = amazon.machine(&[]);
    let (mut plugin, rude) = before(&amazon);
    rude.will("StopInstances", [Manner::Silence]);
    plugin.write(&json!({ "id": 90, "op": "stop", "ids": [id], "deadline_ms": 5_000, "kind": "instance" }));
    plugin
        .write(&json!({ "id": 91, "op": "status", "ids": [id], "deadline_ms": 20_000, "kind": "instance" }));
    let (first, second) = (plugin.answer(), plugin.answer());
    assert_eq!((first["id"].as_u64(), &first["targets"][&id]["status"]), (Some(91), &json!("running")));
    assert_eq!((second["id"].as_u64(), fault(&second)), (Some(90), "timeout"));
    plugin.write(&json!({ "op": "status" }));
    plugin.write(&json!("no request"));
    assert_eq!(plugin.status(&id, "instance", &json!({})), "running");
    plugin.end();
}

#[test]
fn a_scale_group_goes_to_nothing_and_back_to_what_it_was() {
    let amazon = Amazon::start();
    let launch =
        [("LaunchConfigurationName", "lc"), ("ImageId", "ami-12c6146b"), ("InstanceType", "t2.micro")];
    amazon.ask("autoscaling", "CreateLaunchConfiguration", &launch);
    let group = [
        ("AutoScalingGroupName", "web"),
        ("LaunchConfigurationName", "lc"),
        ("AvailabilityZones.member.1", "eu-west-1a"),
        ("MinSize", "2"),
        ("MaxSize", "5"),
        ("DesiredCapacity", "3"),
    ];
    amazon.ask("autoscaling", "CreateAutoScalingGroup", &group);
    let sizes = || {
        let told = amazon.ask(
            "autoscaling",
            "DescribeAutoScalingGroups",
            &[("AutoScalingGroupNames.member.1", "web")],
        );
        let size = |name| tests::amazon::element(&told, name).unwrap().parse::<u32>().unwrap();
        (size("MinSize"), size("DesiredCapacity"), size("MaxSize"))
    };
    let (mut plugin, rude) = before(&amazon);
    let params = json!({ "scale_group": { "name": "web" } });
    assert_eq!(plugin.status("web", "scale_group", &params), "running");
    let told = plugin.ask("describe", &["web"], "scale_group", &params);
    assert_eq!(told["targets"]["web"]["addresses"].as_array().unwrap().len(), 3, "{told}");
    // What it was is on the group before anything is changed: cut off amid the stop, it is known all the same.
    rude.will("UpdateAutoScalingGroup", vec![Manner::Lose; 3]);
    assert_eq!(fault(&plugin.ask("stop", &["web"], "scale_group", &params)), "interrupted");
    assert_eq!(sizes(), (0, 0, 5));
    taken(&plugin.ask("start", &["web"], "scale_group", &params));
    assert_eq!(sizes(), (2, 3, 5));
    // A second stop does not overwrite it.
    rude.will("UpdateAutoScalingGroup", [Manner::Refuse(400, "ScalingActivityInProgress")]);
    assert_eq!(fault(&plugin.ask("stop", &["web"], "scale_group", &params)), "busy");
    assert_eq!(sizes(), (2, 3, 5));
    for _ in 0..2 {
        taken(&plugin.ask("stop", &["web"], "scale_group", &params));
    }
    assert_eq!(sizes(), (0, 0, 5));
    assert_eq!(plugin.status("web", "scale_group", &params), "stopped");
    // Another life of the plug-in knows it too.
    let mut again = plugin_at(rude.address);
    taken(&again.ask("start", &["web"], "scale_group", &params));
    assert_eq!(sizes(), (2, 3, 5));
    assert_eq!(again.status("web", "scale_group", &params), "running");
    taken(&again.ask("stop", &["web"], "scale_group", &params));
    let told = json!({ "scale_group": { "name": "web", "desired": 4, "min": 1, "max": 6 } });
    taken(&again.ask("start", &["web"], "scale_group", &told));
    assert_eq!(sizes(), (1, 4, 6));
    assert_eq!(fault(&again.ask("start", &["nothing"], "scale_group", &params)), "gone");
    assert_eq!(again.status("nothing", "scale_group", &params), "missing");
    let hibernate = json!({ "how": "hibernate" });
    assert_eq!(fault(&again.ask("stop", &["web"], "scale_group", &hibernate)), "unsupported");
}

#[test]
fn databases_and_their_clusters_are_stopped_and_started() {
    let amazon = Amazon::start();
    let instance = [
        ("DBInstanceIdentifier", "shop"),
        ("DBInstanceClass", "db.t3.micro"),
        ("Engine", "postgres"),
        ("AllocatedStorage", "20"),
        ("MasterUsername", "root"),
        ("MasterUserPassword", "correct-horse"),
    ];
    amazon.ask("rds", "CreateDBInstance", &instance);
    let cluster = [
        ("DBClusterIdentifier", "books"),
        ("Engine", "aurora-postgresql"),
        ("MasterUsername", "root"),
        ("MasterUserPassword", "correct-horse"),
    ];
    amazon.ask("rds", "CreateDBCluster", &cluster);
    let (mut plugin, rude) = before(&amazon);
    for (id, verb) in [("shop", "DBInstance"), ("books", "DBCluster")] {
        let params = json!({ "database": { "id": id, "region": REGION } });
        assert_eq!(plugin.status(id, "database", &params), "running");
        let told = plugin.ask("describe", &[id], "database", &params);
        let address = told["targets"][id]["addresses"][0].as_str().unwrap();
        assert!(address.contains("rds.amazonaws.com"), "{address}");
        for _ in 0..2 {
            taken(&plugin.ask("stop", &[id], "database", &params));
        }
        assert_eq!(plugin.status(id, "database", &params), "stopped");
        assert_eq!(rude.asked(&format!("Stop{verb}")), 1);
        for _ in 0..2 {
            taken(&plugin.ask("start", &[id], "database", &params));
        }
        assert_eq!(plugin.status(id, "database", &params), "running");
        assert_eq!(rude.asked(&format!("Start{verb}")), 1);
    }
    let params = json!({ "database": { "id": "shop" } });
    // It changes: come again. It was seen late: it is down already. It has settled and refuses: it never will.
    rude.will("StopDBInstance", [Manner::Refuse(400, "InvalidDBInstanceState")]);
    rude.will(
        "DescribeDBInstances",
        [
            Manner::Lag("<DBInstanceStatus>available<", "<DBInstanceStatus>backing-up<"),
            Manner::Lag("<DBInstanceStatus>available<", "<DBInstanceStatus>backing-up<"),
        ],
    );
    assert_eq!(fault(&plugin.ask("stop", &["shop"], "database", &params)), "busy");
    rude.will("StopDBInstance", [Manner::Refuse(400, "InvalidDBInstanceState")]);
    let answer = plugin.ask("stop", &["shop"], "database", &params);
    assert_eq!(fault(&answer), "unsupported", "{answer}");
    taken(&plugin.ask("stop", &["shop"], "database", &params));
    rude.will(
        "DescribeDBInstances",
        [Manner::Lag("<DBInstanceStatus>stopped<", "<DBInstanceStatus>available<")],
    );
    taken(&plugin.ask("stop", &["shop"], "database", &params));
    rude.will("StartDBInstance", [Manner::Refuse(400, "InsufficientDBInstanceCapacity")]);
    assert_eq!(fault(&plugin.ask("start", &["shop"], "database", &params)), "no_capacity");
    rude.will(
        "DescribeDBInstances",
        [Manner::Lag("<DBInstanceStatus>stopped<", "<DBInstanceStatus>incompatible-network<")],
    );
    let broken = plugin.ask("status", &["shop"], "database", &params);
    assert_eq!(broken["targets"]["shop"]["error"]["message"], "RDS says that it is incompatible-network");
    assert_eq!(plugin.status("nothing", "database", &params), "missing");
    assert_eq!(fault(&plugin.ask("start", &["nothing"], "database", &params)), "gone");
    let arn = format!("arn:aws:rds:{REGION}:123456789012:cluster:books");
    assert_eq!(plugin.status(&arn, "database", &json!({})), "running");
    assert_eq!(rude.still_rude(), 0);
}

#[test]
fn a_member_of_a_cluster_is_refused_and_the_cluster_is_named() {
    let amazon = Amazon::start();
    let cluster = [
        ("DBClusterIdentifier", "books"),
        ("Engine", "aurora-postgresql"),
        ("MasterUsername", "root"),
        ("MasterUserPassword", "correct-horse"),
    ];
    amazon.ask("rds", "CreateDBCluster", &cluster);
    let member = [
        ("DBInstanceIdentifier", "books-1"),
        ("DBClusterIdentifier", "books"),
        ("DBInstanceClass", "db.r5.large"),
        ("Engine", "aurora-postgresql"),
    ];
    amazon.ask("rds", "CreateDBInstance", &member);
    let (mut plugin, rude) = before(&amazon);
    let answer = plugin.ask("stop", &["books-1"], "database", &json!({}));
    assert_eq!((fault(&answer), rude.asked("StopDBInstance")), ("unsupported", 0));
    assert!(answer["error"]["message"].as_str().unwrap().contains("the cluster books"), "{answer}");
}

#[test]
fn a_container_service_goes_to_nothing_and_back_to_what_it_was() {
    let amazon = Amazon::start();
    amazon.tell("ecs", "CreateCluster", &json!({ "clusterName": "lab" }));
    let task =
        json!({ "family": "web", "containerDefinitions": [{ "name": "web", "image": "web", "memory": 64 }] });
    amazon.tell("ecs", "RegisterTaskDefinition", &task);
    let service =
        json!({ "cluster": "lab", "serviceName": "web", "taskDefinition": "web", "desiredCount": 3 });
    amazon.tell("ecs", "CreateService", &service);
    let count = || {
        let told = amazon.tell("ecs", "DescribeServices", &json!({ "cluster": "lab", "services": ["web"] }));
        told["services"][0]["desiredCount"].as_u64().unwrap()
    };
    let (mut plugin, rude) = before(&amazon);
    let params = json!({ "container": { "cluster": "lab", "service": "web" } });
    // Here no task ever comes up by itself.
    assert_eq!(plugin.status("web", "containers", &params), "starting");
    rude.will("UpdateService", vec![Manner::Lose; 3]);
    assert_eq!(fault(&plugin.ask("stop", &["web"], "containers", &params)), "interrupted");
    assert_eq!(count(), 0);
    taken(&plugin.ask("start", &["web"], "containers", &params));
    assert_eq!(count(), 3);
    rude.will("UpdateService", vec![Manner::Refuse(400, "ThrottlingException"); 3]);
    assert_eq!(fault(&plugin.ask("stop", &["web"], "containers", &params)), "throttled");
    for _ in 0..2 {
        taken(&plugin.ask("stop", &["web"], "containers", &params));
    }
    assert_eq!(count(), 0);
    assert_eq!(plugin.status("web", "containers", &params), "stopped");
    let mut again = plugin_at(rude.address);
    taken(&again.ask("start", &["web"], "containers", &params));
    assert_eq!(count(), 3);
    assert_eq!(again.status("web", "containers", &params), "running");
    taken(&again.ask("stop", &["web"], "containers", &params));
    let told = json!({ "container": { "cluster": "lab", "service": "web", "task_count": 2 } });
    taken(&again.ask("start", &["web"], "containers", &told));
    assert_eq!(count(), 2);
    // With its count in the rule nothing is written onto it: that may not be allowed.
    let tagged = rude.asked("TagResource");
    taken(&again.ask("stop", &["web"], "containers", &told));
    assert_eq!(rude.asked("TagResource"), tagged);
    assert_eq!(fault(&again.ask("start", &["nothing"], "containers", &params)), "gone");
    let elsewhere = json!({ "container": { "cluster": "nowhere" } });
    assert_eq!(fault(&again.ask("start", &["web"], "containers", &elsewhere)), "gone");
}

#[test]
fn a_secret_is_told_and_one_that_cannot_be_read_hides_none() {
    let amazon = Amazon::start();
    amazon.keep_secret("harness/cert", "-----BEGIN");
    amazon.keep_secret("typed", r#"{"cert":"typed into the console"}"#);
    let (mut plugin, rude) = before(&amazon);
    let told = plugin.ask("secret", &["harness/cert", "typed", "nothing"], "", &json!({}));
    assert_eq!(told["secrets"]["harness/cert"], json!({ "text": "-----BEGIN" }));
    assert_eq!(told["secrets"]["typed"]["text"], "typed into the console");
    assert_eq!(told["secrets"]["nothing"]["error"]["kind"], "gone", "{told}");
    rude.will("GetSecretValue", [Manner::Refuse(400, "AccessDeniedException")]);
    let told = plugin.ask("secret", &["typed"], "", &json!({}));
    assert_eq!(told["secrets"]["typed"]["error"]["kind"], "denied");
    amazon.change_secret("typed", "new");
    let told = plugin.ask("secret", &["typed"], "", &json!({}));
    assert_eq!(told["secrets"]["typed"]["text"], "new");
}

#[test]
fn amazon_is_believed_by_a_certificate_that_the_system_trusts() {
    let amazon = Amazon::start();
    let id = amazon.machine(&[]);
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let nginx = Program::start(|folder, address| {
        fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let configuration = format!(
            "daemon off; master_process off; pid {0}/pid; error_log {0}/error.log;\nevents {{}}\n\
             http {{ access_log off; client_body_temp_path {0}/a; proxy_temp_path {0}/b; fastcgi_temp_path {0}/c;\n\
             uwsgi_temp_path {0}/d; scgi_temp_path {0}/e;\n\
             server {{ listen {address} ssl; ssl_certificate {0}/cert.pem; ssl_certificate_key {0}/key.pem;\n\
             location / {{ proxy_pass http://{1}; }} }} }}\n",
            folder.display(),
            amazon.address()
        );
        fs::write(folder.join("nginx.conf"), configuration).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg(folder.join("error.log"));
        command
    });
    let endpoint = format!("https://localhost:{}", nginx.address.port());
    let mut trusting = command(&endpoint);
    trusting.env("SSL_CERT_FILE", nginx.folder.path().join("cert.pem"));
    assert_eq!(Plugin::start(trusting, &json!({})).status(&id, "instance", &json!({})), "running");
    let answer = Plugin::start(command(&endpoint), &json!({})).ask("stop", &[&id], "instance", &json!({}));
    assert_eq!(fault(&answer), "unreachable", "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("certificate"), "{answer}");
}

#[test]
fn who_has_no_key_and_who_has_no_region_is_told_so() {
    let amazon = Amazon::start();
    let endpoint = format!("http://{}", amazon.address());
    let mut alone = Command::new(binary("autostop-provider-aws"));
    alone.env_clear().env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", "/nowhere");
    let options = json!({ "endpoint_url": endpoint });
    let mut plugin = Plugin::start(alone, &options);
    let answer = plugin.ask("start", &["i-1"], "instance", &json!({}));
    assert_eq!(fault(&answer), "denied");
    assert!(answer["error"]["message"].as_str().unwrap().contains("no region is known"), "{answer}");
    let answer = plugin.ask("start", &["i-1"], "instance", &json!({ "region": REGION }));
    assert_eq!(fault(&answer), "denied");
    assert!(answer["error"]["message"].as_str().unwrap().contains("no credentials found"), "{answer}");
    plugin.write(&json!({ "id": 7, "op": "hello", "version": 2 }));
    assert_eq!(fault(&plugin.answer()), "unsupported");
    plugin.write(&json!({ "id": 8, "op": "hello", "version": 1, "options": { "zone": "a" } }));
    let answer = plugin.answer();
    assert!(answer["error"]["message"].as_str().unwrap().contains("unknown field `zone`"), "{answer}");
}
