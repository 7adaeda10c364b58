//! What the command line prints.

use std::{fs, process::Output};

use tempfile::TempDir;

use crate::{
    plane::{Plane, holder},
    scene::{Scene, TOKEN, program, rule, wait_for},
};

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn check_tells_every_problem_of_the_configuration_and_of_the_rules() {
    let folder = TempDir::new().unwrap();
    let (config, rules) = (folder.path().join("config.toml"), folder.path().join("rules.d"));
    fs::create_dir(&rules).unwrap();
    let good = format!("rulesDir = \"{}\"\n[providers.lab]\nkind = \"docker\"\n", rules.display());
    fs::write(&config, &good).unwrap();
    fs::write(rules.join("a.toml"), rule("a", "")).unwrap();
    let (code, _, said) = told(&program(&config).arg("check").output().unwrap());
    assert_eq!((code, said.as_str()), (0, "lw_proxy: the configuration is good, and so is its rule\n"));

    fs::write(&config, format!("proxyPort = 99999\nproxyPrt = 1\n{good}")).unwrap();
    fs::write(rules.join("b.toml"), rule("b", "").replace("lab", "lap")).unwrap();
    fs::write(rules.join("c.toml"), "name = ").unwrap();
    let (code, _, said) = told(&program(&config).arg("check").output().unwrap());
    assert_eq!(code, 78, "{said}");
    for problem in ["proxyPort in", "did you mean proxyPort?", "b.toml: provider", "c.toml"] {
        assert!(said.contains(problem), "{problem} is not in {said}");
    }
    assert!(!said.contains("a.toml"), "{said}");
}

#[test]
fn rules_are_listed_warmed_up_and_cooled_down() {
    let scene = Scene::start(
        Some(TOKEN),
        &[rule("Build <Box>\u{1b}[31m", "[tcp.ssh]\nport = 1"), rule("cellar", "")],
    );
    let plane = Plane::attach(scene.planes_port, "edge");
    scene.wait_for_word("cellar", "down");
    let (code, list, _) = told(&scene.command(&["rules"]));
    let lines: Vec<_> = list.lines().collect();
    assert!(code == 0 && lines.len() == 3, "{list}");
    assert!(lines[0].starts_with("NAME ") && lines[0].contains("CLIENTS COME TO"), "{list}");
    assert!(lines[1].contains("Build <Box>⟨1B⟩[31m") && lines[1].contains("56000 (ssh)"), "{list}");
    assert!(lines[2].starts_with("cellar ") && lines[2].contains(" down "), "{list}");
    let (_, json, _) = told(&scene.command(&["rules", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[1]["state"], "down");

    let (code, said, _) = told(&scene.command(&["warmup", "cellar"]));
    assert_eq!((code, said.as_str()), (0, "cellar is warmingup\n"));
    scene.wait_for_word("cellar", "active");
    plane.use_it("cellar", vec![holder("10.0.0.7:1", "")], 0);
    wait_for("the use to be told", || {
        scene.get("/dashboard/rules/cellar").text.contains("10.0.0.7:1").then_some(())
    });
    assert_eq!(
        told(&scene.command(&["cooldown", "cellar"])),
        (1, String::new(), "lw_proxy: it is in use\n".to_owned())
    );
    assert!(scene.is_up("m"));
    assert_eq!(told(&scene.command(&["cooldown", "cellar", "--force"])).0, 0);
    scene.wait_for_word("cellar", "down");
    let (code, _, said) = told(&scene.command(&["warmup", "nothing/../cellar?x"]));
    assert_eq!((code, said.as_str()), (1, "lw_proxy: there is no such rule\n"));
    let (code, said, _) = told(&scene.command(&["warmup", "Build <Box>\u{1b}[31m"]));
    assert!(code == 0 && said.contains("⟨1B⟩"), "{said}");
}

#[test]
fn the_ledger_is_added_up() {
    let scene = Scene::start(Some(TOKEN), &[rule("box", "price_per_hour = 1")]);
    let (code, said, _) = told(&scene.command(&[
        "ledger",
        "--group-by",
        "month",
        "--from",
        "2026-01-01",
        "--to",
        "2026-03-01",
    ]));
    assert_eq!(code, 0);
    let first: Vec<_> = said.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(first, ["FROM", "2026-01-01", "2026-02-01", "total"]);
    let (code, _, said) = told(&scene.command(&["ledger", "--from", "yesterday"]));
    assert!(code == 1 && said.contains("`yesterday` is no day"), "{said}");
}

#[test]
fn who_cannot_ask_is_told_why() {
    let scene = Scene::start(Some(TOKEN), &[]);
    let mut command = program(&scene.config());
    let other = command.env("PROXY_PORT", scene.port.to_string()).args(["rules", "--auth-token", "other"]);
    let (code, _, said) = told(&other.output().unwrap());
    assert!(code == 1 && said.contains("authToken of the configuration"), "{said}");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let (code, _, said) =
        told(&program(&scene.config()).env("PROXY_PORT", nobody).arg("rules").output().unwrap());
    assert!(code == 1 && said.contains("lw_proxy does not answer on port"), "{said}");
    let missing = scene.path().join("none.toml");
    let (code, _, said) = told(&program(&missing).arg("rules").output().unwrap());
    assert!(code == 78 && said.contains("none.toml"), "{said}");
}
