//! Rule: every file of Rust says in its first line what it is for.

use super::Problem;

pub(super) fn check(path: &str, text: &str) -> Vec<Problem> {
    let first = text.lines().next().unwrap_or_default();
    let says = first.strip_prefix("//!").is_some_and(|rest| !rest.trim().is_empty());
    if says {
        return Vec::new();
    }
    vec![Problem::line(path, 1, "begin with a `//!` sentence that says what this file is for")]
}

#[cfg(test)]
mod tests {
    use super::{super::found, check};

    #[test]
    fn a_file_begins_with_what_it_is_for() {
        assert!(found(check, "a/src/lib.rs", "//! Queues.\n\nmod disk;\n").is_empty());
        for bad in ["", "mod disk;\n", "// Queues.\n", "//!\n//! Queues.\n", "\n//! Queues.\n"] {
            assert_eq!(found(check, "a/src/lib.rs", bad), [1], "{bad:?}");
        }
    }
}
