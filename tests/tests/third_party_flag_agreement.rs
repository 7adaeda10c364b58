//! The relay, the Python SDK and the Node SDK evaluate the same flags for the same targets, and find the same; where
//! the SDKs disagree by their nature, `flag-relay check` has said so of that flag.
//!
//! `FLAG_PAIRS` says how many pairs of flags and targets are drawn, and `FLAG_SEED` from which seed.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;
use tests::{
    daemon::binary,
    flag::{ENVIRONMENT, FlagRelay, Kind, drawn::draw, evaluate_with},
};

/// As many as the SDK keeps.
const FLAGS: usize = 100;
/// The hash of the key `apikey1`.
const KEYS: &str = r#"["d4f79b313f8106f5af108ad96ff516222dbfd5a0ab52f4308e4b1ad1d740de60"]"#;

/// By target and flag.
type Values = BTreeMap<(String, String), String>;

fn number(name: &str, otherwise: u64) -> u64 {
    env::var(name).map_or(otherwise, |told| told.parse().unwrap())
}

fn run(words: &[&str]) -> Vec<Value> {
    let output = Command::new(binary("flag-relay")).args(words).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn values(told: &[Value], value: impl Fn(&Value) -> &Value) -> Values {
    let mut values = Values::new();
    for line in told {
        let target = line["target"].as_str().unwrap();
        for (flag, told) in line["flags"].as_object().unwrap() {
            let value = value(told).as_str().unwrap().to_owned();
            values.insert((target.to_owned(), flag.clone()), value);
        }
    }
    values
}

fn relay(folder: &str, targets: &str, dialect: &str) -> Values {
    let words = ["eval", folder, "--env", ENVIRONMENT, "--targets", targets, "--dialect", dialect];
    values(&run(&words), |told| &told["value"])
}

/// The flags of which `check` said that SDKs disagree, or may on attributes that are no texts.
fn doubtful(folder: &str, kinds: &[&str]) -> BTreeSet<String> {
    let found = run(&["check", folder, "--json"]);
    let found = found.iter().filter(|told| kinds.contains(&told["kind"].as_str().unwrap()));
    found
        .flat_map(|told| told["flags"].as_array().unwrap())
        .map(|flag| flag.as_str().unwrap().to_owned())
        .collect()
}

fn compare(seed: u64, targets: usize) -> usize {
    let folder = TempDir::new().unwrap();
    let drawn = draw(seed, FLAGS, targets);
    let mut relay_process = FlagRelay::start(folder.path(), "", &[]);
    // What people write made room for the offline layout.
    let flags = folder.path().join("flags");
    let layout = flags.join(format!("env-{ENVIRONMENT}"));
    relay_process.stop();
    fs::remove_file(flags.join("prod.yaml")).unwrap();
    fs::create_dir_all(&layout).unwrap();
    let write = |path: &Path, value: &str| fs::write(path, value).unwrap();
    write(&layout.join("auth_config.json"), KEYS);
    write(&layout.join("feature_config.json"), &drawn.flags.to_string());
    write(&layout.join("segments.json"), &drawn.groups.to_string());
    let file = folder.path().join("targets.json");
    write(&file, &drawn.targets.to_string());
    relay_process.again(0);
    let found = |kind| {
        let found = values(&evaluate_with(kind, &relay_process.url(), &file, &drawn.names), |told| told);
        assert_eq!(found.len(), FLAGS * targets, "every pair was evaluated");
        found
    };
    let (python, node) = (found(Kind::Python), found(Kind::Node));
    let (flags, file) = (flags.to_string_lossy(), file.to_string_lossy());
    let as_python = relay(&flags, &file, "python");
    let own = relay(&flags, &file, "relay");
    let (rules, any) = (doubtful(&flags, &["rules"]), doubtful(&flags, &["rules", "types"]));
    let (mut parted, mut failed) = (0, 0);
    for ((target, flag), value) in &python {
        let pair = (target.clone(), flag.clone());
        if value == "(failed)" {
            // It splits by what is no text, and fails.
            assert!(any.contains(flag), "seed {seed}: {flag} failed for {target}");
            failed += 1;
            continue;
        }
        let drawn = || {
            let find = |list: &Value, key: &str, name: &str| {
                list.as_array()
                    .and_then(|list| list.iter().find(|told| told[key] == name).cloned())
                    .unwrap_or_default()
            };
            let (flag, target) =
                (find(&drawn.flags, "feature", flag), find(&drawn.targets, "identifier", target));
            format!("seed {seed}\n{flag}\n{target}\n{}", drawn.groups)
        };
        assert_eq!(value, &as_python[&pair], "read as Python reads: {}", drawn());
        if *value != own[&pair] {
            let number: usize = target.trim_start_matches('t').parse().unwrap();
            // Targets with even numbers have texts only.
            let known = if number.is_multiple_of(2) { &rules } else { &any };
            assert!(known.contains(flag), "Python {value}, relay {}: {}", own[&pair], drawn());
            parted += 1;
        }
    }
    for ((target, flag), value) in &node {
        let pair = (target.clone(), flag.clone());
        if *value != own[&pair] {
            let number: usize = target.trim_start_matches('t').parse().unwrap();
            let known = if number.is_multiple_of(2) { &rules } else { &any };
            let flag_told = drawn.flags.as_array().unwrap().iter().find(|told| told["feature"] == **flag);
            assert!(
                known.contains(flag),
                "seed {seed}: Node {value}, relay {}: {flag_told:?} for {target}",
                own[&pair]
            );
        }
    }
    assert!(parted > 0, "seed {seed}: nothing was drawn on which SDKs disagree");
    assert!(rules.len() < FLAGS * 9 / 10, "seed {seed}: hardly a flag is left on which all agree");
    assert!(failed * 4 < python.len(), "seed {seed}");
    assert_eq!(relay_process.stop(), 0);
    parted
}

#[test]
fn the_relay_and_the_sdks_find_the_same() {
    let pairs = usize::try_from(number("FLAG_PAIRS", 6000)).unwrap();
    let first = number("FLAG_SEED", 1);
    let each = 20;
    let rounds = pairs.div_ceil(FLAGS * each).max(1);
    for seed in first..first + rounds as u64 {
        compare(seed, each);
    }
}
