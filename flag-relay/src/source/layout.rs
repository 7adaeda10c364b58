//! Pure. The offline layout: a folder `env-<id>` with four files of JSON.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    secret::KeyHash,
    shape::{Environment, FeatureConfig, Segment, Target},
};

/// What stands before the id in the name of the folder.
pub const PREFIX: &str = "env-";
/// Hashes of SDK keys.
pub const KEYS: &str = "auth_config.json";
/// Flags.
pub const FLAGS: &str = "feature_config.json";
/// Groups.
pub const GROUPS: &str = "segments.json";
/// Targets; may be absent.
pub const TARGETS: &str = "targets.json";

/// The files of one environment, as far as they are there.
#[derive(Debug, Default)]
pub struct Files {
    /// [`KEYS`].
    pub keys: Option<Vec<u8>>,
    /// [`FLAGS`].
    pub flags: Option<Vec<u8>>,
    /// [`GROUPS`].
    pub groups: Option<Vec<u8>>,
    /// [`TARGETS`].
    pub targets: Option<Vec<u8>>,
}

/// Reads the environment of this id.
///
/// # Errors
/// With everything that is wrong, by file.
pub fn read(id: &str, files: &Files) -> Result<Environment, Vec<String>> {
    let mut problems = Vec::new();
    let keys = keys(files.keys.as_deref(), &mut problems);
    let flags: Vec<FeatureConfig> = part(FLAGS, files.flags.as_deref(), true, &mut problems);
    let segments: Vec<Segment> = part(GROUPS, files.groups.as_deref(), true, &mut problems);
    let targets: Vec<Target> = part(TARGETS, files.targets.as_deref(), false, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Environment { id: id.to_owned(), name: String::new(), keys, flags, segments, targets })
}

/// What is wrong with keys is never told with them: somebody may have written them in clear.
fn keys(bytes: Option<&[u8]>, problems: &mut Vec<String>) -> Vec<KeyHash> {
    let Some(bytes) = bytes else {
        problems.push(format!("{KEYS} is not there"));
        return Vec::new();
    };
    let Ok(Value::Array(told)) = serde_json::from_slice(bytes) else {
        problems.push(format!("{KEYS}: it must be a list"));
        return Vec::new();
    };
    let mut keys = Vec::new();
    for (key, number) in told.iter().zip(1..) {
        let key = key.as_str().unwrap_or_default();
        match KeyHash::parse(key.strip_prefix("auth-key-").unwrap_or(key)) {
            Some(hash) => keys.push(hash),
            None => problems.push(format!("{KEYS}: entry {number} is no SHA-256 in hexadecimal")),
        }
    }
    keys
}

fn part<T: DeserializeOwned>(
    name: &str,
    bytes: Option<&[u8]>,
    is_required: bool,
    problems: &mut Vec<String>,
) -> Vec<T> {
    let Some(bytes) = bytes else {
        if is_required {
            problems.push(format!("{name} is not there"));
        }
        return Vec::new();
    };
    match serde_json::from_slice::<Option<Vec<T>>>(bytes) {
        Ok(read) => read.unwrap_or_default(),
        Err(error) => {
            problems.push(format!("{name}: {error}"));
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(keys: &str, flags: &str, groups: &str) -> Files {
        let file = |text: &str| Some(text.as_bytes().to_vec());
        Files { keys: file(keys), flags: file(flags), groups: file(groups), targets: None }
    }

    #[test]
    fn the_documented_files_are_an_environment() {
        let key = KeyHash::of("k").to_string();
        let flag = r#"{"feature":"f","kind":"boolean","state":"on","offVariation":"a","variations":[],"defaultServe":{}}"#;
        let mut told = files(&format!("[\"{key}\"]"), &format!("[{flag}]"), "null");
        told.targets = Some(br#"[{"identifier":"ann","attributes":{"a":1}}]"#.to_vec());
        let read = read("e", &told).unwrap();
        assert_eq!((read.id.as_str(), read.keys.as_slice()), ("e", &[KeyHash::of("k")][..]));
        assert_eq!((read.flags.len(), read.segments.len(), read.targets.len()), (1, 0, 1));
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let mut told = files(r#"["secret-in-clear"]"#, r#"[{"feature":"f""#, "{}");
        told.groups = None;
        let problems = read("e", &told).unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems.iter().all(|problem| !problem.contains("secret-in-clear")), "a key is a secret");
        for keys in [
            r#""secret-in-clear""#,
            r#"{"secret-in-clear":1}"#,
            r#"["secret-in-clear""#,
            r#"[["secret-in-clear"]]"#,
        ] {
            let problems = read("e", &files(keys, "[]", "[]")).unwrap_err();
            assert!(problems.iter().all(|problem| !problem.contains("secret-in-clear")), "{problems:?}");
        }
    }
}
