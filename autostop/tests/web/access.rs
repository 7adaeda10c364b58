//! Who is let in.

use std::fs;

use crate::scene::{Scene, TOKEN, rule, wait_for};

const API: &str = "/gateway/lw/api/accounts/my-team/autostopping";
const PAGES: [&str; 5] =
    ["/dashboard", "/dashboard/rules/box", "/dashboard/savings", "/dashboard/planes", "/nowhere"];

fn sign_in(scene: &Scene, token: &str) -> (u16, String) {
    let told = scene.ask("POST", "/dashboard/sign-in", &[], &format!("token={token}&to=/dashboard/planes"));
    let cookie = told.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
    (told.status, cookie)
}

#[test]
fn without_the_token_only_the_hint_and_health_are_answered() {
    let scene = Scene::start(Some(TOKEN), &[rule("box", "")]);
    let status = |path: &str| scene.ask("GET", path, &[], "").status;
    let hint = scene.ask("GET", "/", &[], "");
    assert!(
        hint.status == 200 && hint.text.contains("my-<team>") && hint.text.contains("/dashboard"),
        "{}",
        hint.text
    );
    assert!(hint.header("content-type").starts_with("text/plain"));
    assert_eq!(["/livez", "/readyz", "/dashboard/sign-in"].map(status), [200; 3]);
    for path in PAGES {
        let told = scene.ask("GET", path, &[], "");
        assert_eq!(told.status, 303, "{path}");
        assert!(told.header("location").starts_with("/dashboard/sign-in?to=%2F"), "{path}");
    }
    assert_eq!(["/metrics", &format!("{API}/rules")].map(status), [401; 2]);
    for deed in ["warmup", "cooldown", "disable", "enable"] {
        assert_eq!(scene.ask("POST", &format!("/dashboard/rules/box/{deed}"), &[], "").status, 303, "{deed}");
    }
    assert_eq!(scene.ask("POST", &format!("{API}/rules/box/warmup"), &[], "").status, 401);
    assert!(!scene.is_up("m"), "nothing was done");

    for path in ["/dashboard", "/dashboard/rules/box", "/metrics", &format!("{API}/rules")] {
        assert_eq!(scene.get(path).status, 200, "{path}");
        let other = [("authorization", "Bearer sat.only-for-test")];
        assert_ne!(scene.ask("GET", path, &other, "").status, 200, "{path}");
    }
    assert_eq!(scene.ask("GET", &format!("{API}/rules"), &[("x-api-key", TOKEN)], "").status, 200);
}

#[test]
fn a_session_opens_the_pages_and_the_api_until_it_ends() {
    let scene = Scene::start(Some(TOKEN), &[rule("box", "")]);
    let (status, cookie) = sign_in(&scene, "wrong");
    assert_eq!((status, cookie.as_str()), (401, ""));
    let (status, cookie) = sign_in(&scene, TOKEN);
    assert!(status == 303 && !cookie.contains(TOKEN), "{status} {cookie}");
    let with = |path: &str, site: &str| {
        scene.ask("GET", path, &[("cookie", &cookie), ("sec-fetch-site", site)], "").status
    };
    let rules = format!("{API}/rules");
    assert_eq!(["/dashboard", "/metrics", &rules].map(|path| with(path, "same-origin")), [200; 3]);
    assert_eq!((with(&rules, "cross-site"), with("/dashboard", "cross-site")), (401, 303));
    let out = scene.ask("POST", "/dashboard/sign-out", &[("cookie", &cookie)], "");
    assert!(out.status == 303 && out.header("set-cookie").contains("Max-Age=0"));
    assert_eq!((with(&rules, "same-origin"), with("/dashboard", "same-origin")), (401, 303));
}

#[test]
fn nothing_is_changed_for_a_page_of_another_origin() {
    let scene = Scene::start(Some(TOKEN), &[rule("box", "")]);
    let (_, cookie) = sign_in(&scene, TOKEN);
    let bearer = format!("Bearer {TOKEN}");
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        for path in ["/dashboard/rules/box/warmup", "/dashboard/sign-in", &format!("{API}/rules/box/warmup")]
        {
            let headers = [("origin", origin), ("cookie", &cookie), ("authorization", &bearer)];
            assert_eq!(scene.ask("POST", path, &headers, "token=x").status, 403, "{origin} {path}");
        }
    }
    assert!(!scene.is_up("m"), "nothing was done");
    let own = format!("http://127.0.0.1:{}", scene.port);
    let headers = [("origin", own.as_str()), ("cookie", &cookie), ("sec-fetch-site", "same-origin")];
    assert_eq!(scene.ask("POST", "/dashboard/rules/box/warmup", &headers, "").status, 303);
    wait_for("the machine to be started", || scene.is_up("m").then_some(()));
}

#[test]
fn without_a_token_the_dashboard_is_open_by_names_of_loopback_only() {
    let scene = Scene::start(None, &[rule("box", "")]);
    let by = |name: &str, path: &str| scene.ask("GET", path, &[("host", name)], "").status;
    for path in ["/", "/dashboard", "/metrics", "/dashboard/rules/box"] {
        assert_eq!(by("localhost", path), 200, "{path}");
        assert_eq!(by("evil.example", path), 421, "{path}");
    }
    assert_eq!(by("evil.example", &format!("{API}/rules")), 421);
    assert_eq!(by("evil.example", "/livez"), 200);
    let refused = scene.get(&format!("{API}/rules"));
    assert!(refused.status == 403 && refused.text.contains("set authToken"), "{}", refused.text);
    assert_eq!(scene.get("/dashboard/sign-in").status, 303, "there is nothing to sign in with");
}

#[test]
fn a_changed_token_ends_the_sessions_of_the_one_before() {
    let scene = Scene::start(Some(TOKEN), &[]);
    let (_, cookie) = sign_in(&scene, TOKEN);
    let status = || scene.ask("GET", "/dashboard", &[("cookie", &cookie)], "").status;
    assert_eq!(status(), 200);
    let config = fs::read_to_string(scene.config()).unwrap();
    fs::write(scene.config(), config.replace(TOKEN, "sat.another")).unwrap();
    wait_for("the session to end", || (status() == 303).then_some(()));
    assert_eq!(sign_in(&scene, TOKEN).0, 401);
    assert_eq!(sign_in(&scene, "sat.another").0, 303);
}
