//! Rules that are written through the API: checked as files are, kept, in force at once, and gone when they are removed.

use std::fs;

use serde_json::{Value, json};

use crate::scene::{Answer, Scene, TOKEN, rule, wait_for};

const API: &str = "/gateway/lw/api/accounts/my-team/autostopping";

fn told(answer: &Answer) -> Value {
    serde_json::from_str(&answer.text).unwrap_or_else(|_| panic!("{} {}", answer.status, answer.text))
}

fn send(scene: &Scene, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = scene.knowing(method, &format!("{API}{path}"), &body);
    (answer.status, told(&answer))
}

fn names(scene: &Scene) -> Vec<String> {
    let (_, told) = send(scene, "GET", "/rules", &Value::Null);
    let rules = told["response"].as_array().unwrap();
    rules.iter().map(|rule| rule["name"].as_str().unwrap().to_owned()).collect()
}

/// A rule without a port.
fn given(name: &str) -> Value {
    json!({ "name": name, "provider": "lab", "filter": { "vm_ids": [name] } })
}

#[test]
fn a_rule_is_created_changed_and_removed_and_outlives_a_crash() {
    let mut scene = Scene::start(Some(TOKEN), &[rule("box", "")]);
    let body = json!({ "service": given("Build Box"), "deps": [{ "dep_id": "box", "delay_secs": 3 }], "apply_now": true });
    let (status, told) = send(&scene, "POST", "/rules", &body);
    assert_eq!(status, 200, "{told}");
    let rule = &told["response"];
    let id = rule["id"].as_str().unwrap().to_owned();
    assert_eq!((&rule["name"], &rule["depends"]), (&json!("Build Box"), &json!(["box"])));
    assert_eq!(rule["idle_time_mins"], 15.0);
    // It is in force once it is answered.
    assert_eq!(names(&scene).len(), 2);
    scene.restart();
    let (_, told) = send(&scene, "GET", "/v2/rules/Build%20Box", &Value::Null);
    let mut service = told["response"]["service"].clone();
    assert_eq!(service["depends"], json!([{ "rule": "box", "delay_in_sec": 3 }]));
    // As it is read, it can be sent again.
    service["idle_time_mins"] = json!(60);
    let (status, told) = send(&scene, "PUT", &format!("/v2/rules/{id}"), &service);
    assert_eq!((status, &told["response"]["idle_time_mins"]), (200, &json!(60.0)), "{told}");
    let file = scene.path().join(format!("state/rules.d/{id}.toml"));
    assert!(fs::read_to_string(&file).unwrap().contains("idle_time_mins = 60"));
    let (status, _) = send(&scene, "DELETE", &format!("/rules/{id}"), &Value::Null);
    assert_eq!((status, names(&scene)), (200, vec!["box".to_owned()]));
    scene.restart();
    assert_eq!((names(&scene), file.exists()), (vec!["box".to_owned()], false));
    assert_eq!(send(&scene, "DELETE", &format!("/rules/{id}"), &Value::Null).0, 404);
    assert_eq!(send(&scene, "PUT", &format!("/v2/rules/{id}"), &service).0, 404);
}

#[test]
fn numbers_that_no_file_and_no_clock_can_take_are_refused() {
    let mut scene = Scene::start(Some(TOKEN), &[rule("box", "")]);
    for (key, value) in [
        ("idle_time", json!(u64::MAX)),
        ("min_online", json!(u64::MAX)),
        ("start_timeout", json!(u64::MAX)),
        ("idle_time_mins", json!(u64::MAX)),
        ("hold", json!({ "max_bytes": u64::MAX })),
        ("params", json!({ "size": u64::MAX })),
    ] {
        let mut body = given("big");
        body[key] = value;
        let (status, told) = send(&scene, "POST", "/rules", &body);
        assert_eq!(status, 400, "{key}: {told}");
        assert!(told["errors"][0]["key"].as_str().unwrap().starts_with(key), "{told}");
    }
    let mut body = given("long");
    body["idle_time"] = json!("10y");
    assert_eq!(send(&scene, "POST", "/rules", &body).0, 200);
    scene.restart();
    assert_eq!(names(&scene), ["box", "long"]);
}

#[test]
fn every_problem_is_named_and_the_old_rules_stay_in_force() {
    let scene = Scene::start(Some(TOKEN), &[rule("box", "[tcp.ssh]\nconnect_on = 56001")]);
    assert_eq!(send(&scene, "POST", "/v2/rules", &given("web")).0, 200);
    let check = |method: &str, path: &str, body: &Value, status: u16, expected: &[&str]| {
        let (answered, told) = send(&scene, method, path, body);
        assert_eq!(answered, status, "{told}");
        let errors = told["errors"].as_array().unwrap();
        let errors: Vec<_> = errors.iter().map(|error| error["message"].as_str().unwrap()).collect();
        assert_eq!(errors.len(), expected.len(), "{errors:#?}");
        for (error, expected) in errors.iter().zip(expected) {
            assert!(error.contains(expected), "{error:?} instead of {expected:?}");
        }
    };
    let mut bad = given("bad");
    bad["idle_time"] = json!("soon");
    bad["provider"] = json!("nobody");
    bad["wakers"] = json!(["home"]);
    bad["tcp"] = json!({ "ssh": { "port": 22, "connect_on": 56001 } });
    let all = ["no provider `nobody`", "`soon` is no duration", "`home` is no CIDR block", "56001 is taken"];
    check("POST", "/rules", &bad, 400, &all);
    check("POST", "/rules", &json!({ "wakerz": "x" }), 400, &["did you mean `wakers`?"]);
    check("POST", "/rules", &json!([]), 400, &["a rule is an object"]);
    check("POST", "/rules", &json!({ "service": {}, "more": 1 }), 400, &["unknown field `more`"]);
    check("POST", "/rules", &given(""), 400, &["name: is missing", "filter.vm_ids: is missing"]);
    check("POST", "/rules", &given(&"x".repeat(300)), 400, &["name: is longer than"]);
    check("POST", "/rules", &given("box"), 409, &["there is a rule of this name already"]);
    check("POST", "/rules", &given("web"), 409, &["there is a rule of this name already"]);
    check("PUT", "/v2/rules/web", &given("wob"), 400, &["a rule keeps its name"]);
    check("PUT", "/v2/rules/box", &given("box"), 409, &["0.toml: change it there"]);
    check("DELETE", "/rules/box", &Value::Null, 409, &["0.toml: change it there"]);
    check("DELETE", "/rules/nothing", &Value::Null, 404, &["no such rule"]);
    // What others depend on stays.
    let mut dependant = given("dependant");
    dependant["depends"] = json!([{ "rule": "web" }]);
    assert_eq!(send(&scene, "POST", "/rules", &dependant).0, 200);
    check("DELETE", "/rules/web", &Value::Null, 400, &["there is no rule `web`"]);
    assert_eq!(names(&scene), ["box", "dependant", "web"]);
    // While the files are not good, nothing is changed beside them.
    fs::write(scene.path().join("rules.d/1.toml"), "name = ").unwrap();
    check("POST", "/rules", &given("late"), 409, &["1.toml"]);
    fs::write(scene.path().join("rules.d/1.toml"), rule("more", "")).unwrap();
    wait_for("the mended file", || (names(&scene).len() == 4).then_some(()));
    assert_eq!(send(&scene, "POST", "/rules", &given("late")).0, 200);
    assert_eq!(names(&scene), ["box", "dependant", "late", "more", "web"]);
}

#[test]
fn nobody_writes_rules_without_the_token_or_from_another_origin() {
    let scene = Scene::start(Some(TOKEN), &[rule("box", "")]);
    let body = given("web").to_string();
    let bearer = format!("Bearer {TOKEN}");
    for (headers, status) in [
        (vec![], 401),
        (vec![("authorization", "Bearer wrong")], 401),
        (vec![("x-api-key", "wrong")], 401),
        (vec![("authorization", bearer.as_str()), ("origin", "http://evil.example")], 403),
    ] {
        for (method, path) in [("POST", "/rules"), ("PUT", "/v2/rules/box"), ("DELETE", "/rules/box")] {
            let answer = scene.ask(method, &format!("{API}{path}"), &headers, &body);
            assert_eq!(answer.status, status, "{method} {path} {headers:?} {}", answer.text);
        }
    }
    assert_eq!(names(&scene), ["box"]);
    let open = Scene::start(None, &[rule("box", "")]);
    let answer = open.knowing("POST", &format!("{API}/rules"), &body);
    assert!(answer.status == 403 && answer.text.contains("set authToken"), "{}", answer.text);
}

#[test]
fn a_rule_that_the_disk_does_not_take_changes_nothing() {
    let mut scene = Scene::with_little_disk(Some(TOKEN), &[rule("box", "")]);
    let mut long = given("web");
    long["wakers"] = (0..100).map(|number| format!("10.0.{number}.0/24")).collect();
    let (status, told) = send(&scene, "POST", "/rules", &long);
    assert_eq!(status, 507, "{told}");
    assert_eq!(names(&scene), ["box"]);
    scene.restart();
    assert_eq!(names(&scene), ["box"]);
}

#[test]
fn what_other_proxies_say_is_shown_and_harms_nobody() {
    let scene = Scene::start(Some(TOKEN), &[rule("box", "")]);
    assert!(!scene.get("/dashboard/planes").text.contains("Other proxies"));
    let mut body = given("far-<b>away</b>");
    body["proxy_id"] = json!("ap-2");
    assert_eq!(send(&scene, "POST", "/rules", &body).0, 200);
    let page = scene.get("/dashboard/planes").text;
    assert!(page.contains("ap-2") && page.contains("not heard of"), "{page}");
    let report = json!({
        "version": "v9",
        "rules": [{ "name": "far-<b>away</b>", "state": "active", "open": 3, "kept_awake_by": "10.0.0.7:1 (<i>ssh</i>)" }],
        "planes": [{ "name": "edge-7", "attached": true, "version": "v8", "deaf": [{ "port": 22, "error": "in use" }] }, 5],
    });
    assert_eq!(send(&scene, "POST", "/loadbalancers/ap-2/usage", &report).0, 200);
    let page = scene.get("/dashboard/planes").text;
    for told in [
        "version <bdi>v9</bdi>",
        "active",
        "10.0.0.7:1",
        "data-label=\"open\">3<",
        "edge-7",
        "port 22: <bdi>in use",
    ] {
        assert!(page.contains(told), "{told} is not in {page}");
    }
    assert!(!page.contains("<b>") && !page.contains("<i>") && !page.contains("not heard of"), "{page}");
}
