//! Rule: no file or folder of source has a name that says nothing.

use super::Problem;

const EMPTY_WORDS: [&str; 10] =
    ["util", "utils", "helper", "helpers", "misc", "manager", "handler", "core", "base", "types"];

pub(super) fn check(path: &str, _text: &str) -> Vec<Problem> {
    let path_without = path.strip_suffix(".rs").unwrap_or(path);
    if path_without.ends_with("/mod") {
        return vec![Problem::file(path, "name the file after its module instead of `mod.rs`")];
    }
    let empty = path_without.split('/').find(|part| EMPTY_WORDS.contains(part));
    let problem =
        |part| Problem::file(path, format!("`{part}` says nothing: name it after what happens in it"));
    empty.map(problem).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::{super::found, check};

    #[test]
    fn names_say_something() {
        for good in ["goproxy/src/relay.rs", "forwarder/src/store/wal.rs", "common/src/basement.rs"] {
            assert!(found(check, good, "").is_empty(), "{good}");
        }
        let bad =
            ["goproxy/src/utils.rs", "goproxy/src/http1/mod.rs", "common/src/core/clock.rs", "types.rs"];
        for bad in bad {
            assert_eq!(found(check, bad, ""), [0], "{bad}");
        }
    }
}
