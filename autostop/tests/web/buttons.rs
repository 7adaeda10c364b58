//! What the buttons do, and how they refuse.

use crate::{
    plane::{Plane, holder},
    scene::{Scene, TOKEN, rule, wait_for},
};

#[test]
fn buttons_do_what_they_say() {
    let scene = Scene::start(None, &[rule("Büro Box", "")]);
    let _plane = Plane::attach(scene.planes_port, "edge");
    let id = autostop::rule::RuleId::of("Büro Box");
    let by_name = scene.get("/dashboard/rules/B%C3%BCro%20Box");
    assert_eq!(
        (by_name.status, by_name.header("location")),
        (303, format!("/dashboard/rules/{id}").as_str())
    );
    scene.wait_for_word(id.as_str(), "down");
    let press = |deed: &str, form: &str| scene.post(&format!("/dashboard/rules/{id}/{deed}"), form);
    let told = press("warmup", "minutes=7");
    assert_eq!(
        (told.status, told.header("location")),
        (303, format!("/dashboard/rules/{id}?done=warmup").as_str())
    );
    assert!(scene.get(told.header("location")).text.contains("Warm up was asked for."));
    let page = scene.wait_for_word(id.as_str(), "active");
    assert!(
        scene.is_up("m")
            && page.contains("asked by hand")
            && ["it stays for 6m", "it stays for 7m"].iter().any(|told| page.contains(told)),
        "{page}"
    );
    let told = press("cooldown", "");
    assert_eq!(told.status, 303, "{}", told.text);
    scene.wait_for_word(id.as_str(), "down");
    assert!(!scene.is_up("m"));
    assert_eq!(press("disable", "").status, 303);
    let page = scene.wait_for_word(id.as_str(), "disabled");
    assert!(page.contains("/enable") && !page.contains("/warmup"), "{page}");
    let refused = press("warmup", "");
    assert!(refused.status == 409 && refused.text.contains("Enable it first."), "{}", refused.text);
    assert_eq!(press("enable", "").status, 303);
    scene.wait_for_word(id.as_str(), "down");
    for minutes in ["0", "-1", "x", "10081", "18446744073709551615"] {
        assert_eq!(press("warmup", &format!("minutes={minutes}")).status, 400, "{minutes}");
    }
    assert_eq!(press("explode", "").status, 404);
    assert_eq!(scene.post("/dashboard/rules/other/warmup", "").status, 404);
    assert_eq!(scene.get(&format!("/dashboard/rules/{id}/warmup")).status, 405, "looking changes nothing");
}

#[test]
fn what_cuts_somebody_is_asked_twice() {
    let scene = Scene::start(None, &[rule("box", "")]);
    let plane = Plane::attach(scene.planes_port, "edge");
    scene.wait_for_word("box", "down");
    scene.post("/dashboard/rules/box/warmup", "");
    scene.wait_for_word("box", "active");
    plane.use_it("box", vec![holder("10.0.0.7:51122", "GET /builds"), holder("10.0.0.8:1", "x")], 0);
    wait_for("the use to be told", || {
        scene.get("/dashboard/rules/box").text.contains("10.0.0.7:51122").then_some(())
    });
    let refused = scene.post("/dashboard/rules/box/cooldown", "");
    assert_eq!(refused.status, 409);
    for told in
        ["10.0.0.7:51122", "GET /builds", "would cut 2 open", "name=\"force\" value=\"yes\"", "Leave it up"]
    {
        assert!(refused.text.contains(told), "{told} is not in {}", refused.text);
    }
    assert!(scene.is_up("m") && scene.get("/dashboard/rules/box").text.contains("data-state=\"active\""));
    // A first press cannot force: the button of the page does not say so.
    assert!(!scene.get("/dashboard/rules/box").text.contains("name=\"force\""));
    assert_eq!(scene.post("/dashboard/rules/box/cooldown", "force=yes").status, 303);
    scene.wait_for_word("box", "down");
    assert!(!scene.is_up("m"));
}

#[test]
fn who_depends_on_a_rule_is_named_before_it_goes_down() {
    let depends = rule("shop", "[[depends]]\nrule = \"base\"\n").replace("\"m\"", "\"shop\"");
    let scene = Scene::start(None, &[rule("base", ""), depends]);
    let _plane = Plane::attach(scene.planes_port, "edge");
    scene.wait_for_word("shop", "down");
    scene.post("/dashboard/rules/shop/warmup", "");
    scene.wait_for_word("shop", "active");
    let page = scene.wait_for_word("base", "active");
    assert!(page.contains("<a href=\"/dashboard/rules/shop\">shop</a>"), "{page}");
    let refused = scene.post("/dashboard/rules/base/cooldown", "");
    assert_eq!(refused.status, 409);
    for told in ["<bdi>shop</bdi></a>, active", "name=\"propagate\"", "Cool down this one anyway"] {
        assert!(refused.text.contains(told), "{told} is not in {}", refused.text);
    }
    assert!(scene.is_up("m") && scene.is_up("shop"));
    let told = scene.post("/dashboard/rules/base/cooldown", "propagate=yes");
    assert_eq!(told.header("location"), "/dashboard/rules/base?done=propagate");
    scene.wait_for_word("shop", "down");
    assert_eq!(scene.post("/dashboard/rules/base/cooldown", "").status, 303);
    scene.wait_for_word("base", "down");
}

#[test]
fn the_api_cools_down_a_rule_with_those_that_depend_on_it() {
    let depends =
        rule("shop", "idle_time = \"1s\"\n[[depends]]\nrule = \"base\"\n").replace("\"m\"", "\"shop\"");
    let scene =
        Scene::start(Some(TOKEN), &[rule("base", "idle_time = \"1s\"\nmin_online = \"1s\""), depends]);
    let _plane = Plane::attach(scene.planes_port, "edge");
    let ask = |rule: &str, verb: &str, body: &str| {
        scene.post(&format!("/gateway/lw/api/accounts/a/autostopping/rules/{rule}/{verb}"), body)
    };
    scene.wait_for_word("shop", "down");
    assert_eq!(ask("shop", "warmup", "").status, 200);
    scene.wait_for_word("shop", "active");
    let refused = ask("base", "cooldown", "");
    assert_eq!(refused.status, 409, "{}", refused.text);
    let told = ask("base", "cooldown", "{\"propagate\": true}");
    assert_eq!(told.status, 200, "{}", told.text);
    scene.wait_for_word("shop", "down");
    scene.wait_for_word("base", "down");
}

#[test]
fn the_api_takes_no_time_that_is_too_long() {
    let scene = Scene::start(Some(TOKEN), &[rule("box", "")]);
    let path = "/gateway/lw/api/accounts/a/autostopping/rules/box/warmup";
    for minutes in ["18446744073709551615", "307445734561825861", "10081"] {
        let told = scene.post(path, &format!("{{\"idle_time_mins\": {minutes}}}"));
        assert_eq!(told.status, 400, "{minutes}: {}", told.text);
    }
    assert_eq!(scene.post(path, "{\"idle_time_mins\": 10080}").status, 200);
    assert_eq!(scene.get("/dashboard").status, 200);
}
