//! Rule: the root manifest alone decides versions and lints, and daemons do not know each other.

use toml::{Table, Value};

use super::Problem;

/// The daemons: they meet on the wire only, and the end-to-end tests know them as binaries.
const DAEMONS: [&str; 5] = ["agent-relay", "autostop", "flag-relay", "forwarder", "goproxy"];
/// What every crate takes from `[workspace.package]`.
const INHERITED: [&str; 3] = ["version", "edition", "license"];
const DEPENDENCIES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

pub(super) fn check(path: &str, text: &str) -> Vec<Problem> {
    // The root has no package; the fuzz targets are a workspace of their own, which may know everyone.
    if path == "Cargo.toml" || path.starts_with("fuzz/") {
        return Vec::new();
    }
    let manifest: Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![Problem::file(path, error.to_string())],
    };
    let mut problems = Vec::new();
    let package = manifest.get("package").and_then(Value::as_table);
    for key in INHERITED {
        if !package.and_then(|package| package.get(key)).is_some_and(is_inherited) {
            problems.push(Problem::file(path, format!("[package] needs `{key}.workspace = true`")));
        }
    }
    if !manifest.get("lints").is_some_and(is_inherited) {
        problems.push(Problem::file(path, "[lints] needs `workspace = true`"));
    }
    for (section, name, wanted) in dependencies(&manifest) {
        if !is_inherited(wanted) {
            let text =
                format!("[{section}] needs `{name}.workspace = true`: versions stand in the root manifest");
            problems.push(Problem::file(path, text));
        }
        if DAEMONS.contains(&name) {
            problems.push(Problem::file(
                path,
                format!("[{section}] names the daemon `{name}`: meet it on the wire"),
            ));
        }
    }
    problems
}

/// Section, name and value of every dependency, those of single targets included.
fn dependencies(manifest: &Table) -> Vec<(&str, &str, &Value)> {
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flatten();
    let tables = targets.filter_map(|(_, target)| target.as_table());
    let mut found = Vec::new();
    for table in std::iter::once(manifest).chain(tables) {
        for section in DEPENDENCIES {
            let entries = table.get(section).and_then(Value::as_table).into_iter().flatten();
            found.extend(entries.map(|(name, wanted)| (section, name.as_str(), wanted)));
        }
    }
    found
}

fn is_inherited(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::check;

    const GOOD: &str = "[package]\nname = \"relay\"\nversion.workspace = true\nedition.workspace = true\n\
                        license.workspace = true\n[lints]\nworkspace = true\n[dependencies]\n";

    #[test]
    fn manifests_inherit_and_daemons_stand_alone() {
        let check = |text: &str, expected: &[&str]| {
            let problems = check("relay/Cargo.toml", text);
            assert_eq!(problems.len(), expected.len(), "{problems:?}");
            for (problem, part) in problems.iter().zip(expected) {
                assert!(problem.text.contains(part), "{problem}");
            }
        };
        check(&format!("{GOOD}bytes.workspace = true\n"), &[]);
        check(&format!("{GOOD}bytes = {{ workspace = true, features = [\"serde\"] }}\n"), &[]);
        check(&format!("{GOOD}bytes = \"1\"\n"), &["bytes.workspace"]);
        check(&format!("{GOOD}[target.'cfg(unix)'.dependencies]\nnix = \"1\"\n"), &["nix.workspace"]);
        check(&format!("{GOOD}[dev-dependencies]\ngoproxy.workspace = true\n"), &["the daemon `goproxy`"]);
        check(&GOOD.replace("edition.workspace = true", "edition = \"2024\""), &["edition.workspace"]);
        check(&GOOD.replace("[lints]\nworkspace = true\n", ""), &["[lints]"]);
        check("[package", &["TOML"]);
    }
}
