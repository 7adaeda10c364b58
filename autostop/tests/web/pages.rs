//! What the pages show.

use autostop::{
    control::record::Record,
    machine::{Change, State, Why},
    rule::RuleId,
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    plane::{Plane, holder},
    scene::{Answer, Scene, rule, wait_for},
};

const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u{202e}\u{1b}[31m&{{7*7}}";

/// Everything that is not from a stranger has been taken away; nothing of what is left may be markup of theirs.
fn check(what: &str, page: &Answer) {
    let lower = page.text.to_lowercase();
    for markup in ["<script>", "<img", "onerror=alert(2)>", "\"'>"] {
        assert!(!lower.contains(markup), "{what} has {markup}: {}", page.text);
    }
    for raw in ['\u{202e}', '\u{1b}'] {
        assert!(!page.text.contains(raw), "{what} has {raw:?}");
    }
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{what}: {policy}");
    assert_eq!(
        (page.header("cache-control"), page.header("x-content-type-options")),
        ("no-store", "nosniff")
    );
}

#[test]
fn what_strangers_wrote_is_text_on_every_page() {
    let broken = rule("broken", "").replace("lab", "broken");
    let scene = Scene::start(None, &[rule(HOSTILE, "[tcp.ssh]\nport = 22"), broken]);
    let id = RuleId::of(HOSTILE);
    let plane = Plane::attach(scene.planes_port, "<script>alert(3)</script>");
    let mut stranger = holder(HOSTILE, HOSTILE);
    stranger.protocol = HOSTILE.to_owned();
    plane.use_it(id.as_str(), vec![stranger; 3], 7);
    plane.deaf(56000, HOSTILE);
    scene.post("/dashboard/rules/broken/warmup", "");
    scene.wait_for_word("broken", "errored");

    let shown = "&#60;script&#62;alert(1)&#60;/script&#62;";
    let own = format!("/dashboard/rules/{id}");
    let list = wait_for("the holders to be told", || {
        let list = scene.get("/dashboard");
        list.text.contains("<b>7 held</b>").then_some(list)
    });
    assert!(list.text.contains(shown) && list.text.contains("⟨U+202E⟩⟨1B⟩[31m"), "{}", list.text);
    let page = scene.get(&own);
    // The title, the heading, and three times what each of the holders says.
    assert!(page.text.matches(shown).count() >= 10, "{}", page.text);
    assert!(page.text.contains("7 held"));
    for path in ["/dashboard", &own, "/dashboard/rules/broken", "/dashboard/savings", "/dashboard/planes"] {
        let page = scene.get(path);
        assert_eq!(page.status, 200, "{path}");
        check(path, &page);
    }
    assert!(scene.get("/dashboard/planes").text.contains("alert(3)&#60;/script&#62;"));
    let hostile: String = url::form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();
    for (path, status) in [
        (format!("/dashboard?find={hostile}&state={hostile}"), 200),
        (format!("/dashboard/savings?from={hostile}&to={hostile}"), 400),
        (format!("/dashboard/rules/{hostile}"), 404),
        (format!("/dashboard/rules/broken?done={hostile}"), 200),
        (format!("/{hostile}"), 404),
    ] {
        let page = scene.get(&path);
        assert_eq!(page.status, status, "{path}");
        check(&path, &page);
    }
    let error = scene.get("/dashboard/rules/broken").text;
    assert!(error.contains("It went wrong: ") && error.contains("Look at the target"), "{error}");
}

#[test]
fn what_is_wrong_stands_at_the_top() {
    let scene = Scene::start(None, &[rule("box", "")]);
    assert!(scene.get("/dashboard").text.contains("No data plane is attached."));
    let plane = Plane::attach(scene.planes_port, "edge");
    assert!(!scene.get("/dashboard").text.contains("No data plane is attached."));
    plane.deaf(56007, "address in use");
    wait_for("the port to be told", || {
        scene.get("/dashboard").text.contains("cannot listen on port 56007").then_some(())
    });
    assert!(scene.get("/dashboard/planes").text.contains("address in use"));
    drop(plane);
    let page = wait_for("the plane to be away", || {
        let page = scene.get("/dashboard/planes").text;
        page.contains("away</span>").then_some(page)
    });
    assert!(page.contains("name=\"plane\" value=\"edge\""), "{page}");
    assert_eq!(scene.post("/dashboard/planes/forget", "plane=other").status, 409);
    assert_eq!(scene.post("/dashboard/planes/forget", "plane=edge").status, 303);
    assert!(scene.get("/dashboard/planes").text.contains("No data plane ever attached"));
}

#[test]
fn a_journal_that_cannot_be_written_is_told() {
    // So much of a journal fits that it can be begun, and no more.
    let scene = Scene::with_little_disk(None, &[rule("box", ""), rule("other-box", "")]);
    let said = wait_for("the trouble to be told", || {
        scene.post("/dashboard/rules/box/warmup", "");
        let page = scene.get("/dashboard").text;
        page.contains("The journal cannot be written.").then_some(page)
    });
    assert!(said.contains("Nothing is started or stopped until it can be"), "{said}");
    assert!(scene.get("/metrics").text.contains("lw_proxy_journal_trouble 1"));
    assert!(scene.get("/dashboard/planes").text.contains("The journal cannot be written."));
}

#[test]
fn savings_are_drawn_and_told() {
    let now = Timestamp::now();
    let change = |hours: i64, from, to| Record::Change {
        rule: RuleId::of("box"),
        change: Change {
            at: now - SignedDuration::from_hours(hours),
            from,
            to,
            why: Why::Idle,
            dry_run: false,
        },
    };
    let past = [
        change(10, State::Created, State::WarmingUp),
        change(6, State::Active, State::CoolingDown),
        change(6, State::CoolingDown, State::Down),
    ];
    let scene = Scene::with_past(None, &[rule("box", "price_per_hour = 2.5")], &past);
    let told = "Running all the time would have taken 25.00; it took 10.00, which is 15.00 less.";
    for path in
        ["/dashboard", "/dashboard/rules/box", "/dashboard/savings", "/dashboard/savings?group_by=month"]
    {
        let page = scene.get(path).text;
        assert!(page.contains(told), "{path}: {page}");
        assert!(page.contains("15.00 (60 %)"), "{path}: {page}");
        assert!(page.contains("<rect class=\"actual\"") && page.contains("<table class=\"sums\">"), "{path}");
    }
    let history = scene.get("/dashboard/rules/box").text;
    assert_eq!(history.matches("<td class=\"from\">").count(), 3);
    // What it was when the time began counts, although it became so before.
    let from = (now - SignedDuration::from_hours(3)).to_string();
    let part = scene.get(&format!("/dashboard/savings?from={from}")).text;
    let told = "Running all the time would have taken 7.50; it took 0.00, which is 7.50 less.";
    assert!(part.contains(told), "{part}");
    let none = scene.get("/dashboard/savings?from=2020-01-01&to=2020-02-01").text;
    assert!(none.contains("Nothing is known of this time"), "{none}");
}

#[test]
fn rules_are_found_by_state_and_by_text() {
    let domain = "custom_domains = [\"app.example.com\"]\n[[http.routing]]\ntarget_port = 8080";
    let scene = Scene::start(None, &[rule("box", ""), rule("cellar", domain)]);
    scene.wait_for_word("box", "down");
    scene.wait_for_word("cellar", "down");
    scene.post("/dashboard/rules/box/disable", "");
    let shown = |path: &str| {
        let page = scene.get(path).text;
        ["box", "cellar"].map(|id| page.contains(&format!("<tr id=\"rule-{id}\"")))
    };
    assert_eq!(shown("/dashboard"), [true, true]);
    assert_eq!(shown("/dashboard?state=disabled"), [true, false]);
    assert_eq!(shown("/dashboard?state=down"), [false, true]);
    assert_eq!(shown("/dashboard?find=APP.example"), [false, true]);
    assert_eq!(shown("/dashboard?state=disabled&find=cellar"), [false, false]);
    assert!(Scene::start(None, &[]).get("/dashboard").text.contains("No rule yet"));
}

#[test]
fn the_metrics_have_their_names() {
    let scene = Scene::start(None, &[rule("box", "")]);
    let _plane = Plane::attach(scene.planes_port, "edge");
    scene.wait_for_word("box", "down");
    let told = scene.get("/metrics").text;
    for line in [
        "lw_proxy_rules{state=\"down\"} 1",
        "lw_proxy_rules{state=\"active\"} 0",
        "lw_proxy_provider_calls_total{operation=\"describe\",outcome=\"ok\"} ",
        "lw_proxy_planes{state=\"attached\"} 1",
        "lw_proxy_planes{state=\"away\"} 0",
        "lw_proxy_journal_trouble 0",
        "lw_proxy_parked 0",
    ] {
        assert!(told.contains(line), "{line} is not in {told}");
    }
}
