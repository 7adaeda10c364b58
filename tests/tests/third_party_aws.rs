//! Machines at Amazon are put to sleep and woken, however slow and rude Amazon is, and secrets are told: by the plug-in
//! alone.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, process::Command};

use serde_json::json;
use tests::{
    amazon::{Amazon, REGION, before, fault, plugin_command, taken},
    daemon::binary,
    plugin::Plugin,
    program::Program,
    rude::Manner,
};

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
    let mut trusting = plugin_command(&endpoint);
    trusting.env("SSL_CERT_FILE", nginx.folder.path().join("cert.pem"));
    assert_eq!(Plugin::start(trusting, &json!({})).status(&id, "instance", &json!({})), "running");
    let answer =
        Plugin::start(plugin_command(&endpoint), &json!({})).ask("stop", &[&id], "instance", &json!({}));
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
