//! Rule: what the workspace itself depends on is built in one version.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::Problem;

/// Dependencies that are allowed in more than one version, and why.
const ALLOWED: [(&str, &str); 1] = [("base64", "crates that we use still take the version before ours")];

/// Compares `[workspace.dependencies]` of the root manifest with the lock file.
pub(super) fn check(manifest: &str, lock: &str) -> Vec<Problem> {
    let (manifest, lock): (Table, Table) = match (manifest.parse(), lock.parse()) {
        (Ok(manifest), Ok(lock)) => (manifest, lock),
        (Err(error), _) => return vec![Problem::file("Cargo.toml", format!("{error}"))],
        (_, Err(error)) => return vec![Problem::file("Cargo.lock", format!("{error}"))],
    };
    let dependencies = manifest.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    let names = dependencies.and_then(Value::as_table).into_iter().flatten().map(|(name, _)| name.as_str());
    let mut problems = Vec::new();
    for name in names {
        let versions = versions(&lock, name);
        let is_allowed = ALLOWED.iter().any(|(allowed, _)| *allowed == name);
        if versions.len() > 1 && !is_allowed {
            let versions = versions.into_iter().collect::<Vec<_>>().join(" and ");
            let text = format!("`{name}` is built as {versions}: take the version that the others take");
            problems.push(Problem::file("Cargo.lock", text));
        } else if versions.len() < 2 && is_allowed {
            let text = format!("`{name}` is built once: strike its exception out of tidy/versions.rs");
            problems.push(Problem::file("Cargo.lock", text));
        }
    }
    problems
}

fn versions<'a>(lock: &'a Table, name: &str) -> BTreeSet<&'a str> {
    let packages = lock.get("package").and_then(Value::as_array).into_iter().flatten();
    let ours = packages.filter(|package| package.get("name").and_then(Value::as_str) == Some(name));
    ours.filter_map(|package| package.get("version")?.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_direct_dependency_is_built_once() {
        let check = |dependency: &str, built: &[(&str, &str)], expected: usize| {
            let manifest = format!("[workspace.dependencies]\n{dependency} = \"1\"\n");
            let package = |(name, version): &(&str, &str)| {
                format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n")
            };
            let lock: String = built.iter().map(package).collect();
            assert_eq!(check(&manifest, &lock).len(), expected, "{dependency} {built:?}");
        };
        check("arrow", &[("arrow", "59.3.2"), ("syn", "2.0.0"), ("syn", "3.0.0")], 0);
        check("arrow", &[("arrow", "59.3.2"), ("arrow", "60.1.0")], 1);
        check("base64", &[("base64", "0.22.1"), ("base64", "0.23.1")], 0);
        check("base64", &[("base64", "0.23.1")], 1);
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        assert_eq!(check("[workspace", "").len(), 1);
        assert_eq!(check("", "[[package").len(), 1);
    }
}
