//! Rule: a file is short enough to be read at once.

use super::{
    Problem,
    source::{is_test_file, lines},
};

const ASK: usize = 400;
const SPLIT: usize = 500;
/// Tests beside the code; longer ones have a file of their own.
const INLINE_TESTS: usize = 100;

pub(super) fn check(path: &str, text: &str) -> Vec<Problem> {
    let lines = lines(path, text);
    let tests = if is_test_file(path) { 0 } else { lines.iter().filter(|line| line.is_test).count() };
    let warning = |text| Problem { is_warning: true, ..Problem::file(path, text) };
    let mut problems = Vec::new();
    if tests > INLINE_TESTS {
        problems.push(warning(format!("{tests} lines of tests; above {INLINE_TESTS} they go to x/tests.rs")));
    }
    match lines.len() {
        count if count > SPLIT => {
            problems.push(Problem::file(path, format!("{count} lines; split it (at most {SPLIT})")));
        }
        count if count > ASK => {
            problems.push(warning(format!("{count} lines; above {SPLIT} it must be split")));
        }
        _ => {}
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn long_files_warn_and_then_fail() {
        let found = |lines| {
            let problems = check("a.rs", &"\n".repeat(lines));
            problems.iter().map(|problem| problem.is_warning).collect::<Vec<_>>()
        };
        assert!(found(400).is_empty());
        assert_eq!(found(401), [true]);
        assert_eq!(found(500), [true]);
        assert_eq!(found(501), [false]);
    }

    #[test]
    fn long_tests_have_a_file_of_their_own() {
        let count = |path, tests: usize| {
            let text = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    a();\n".repeat(tests));
            check(path, &text).len()
        };
        assert_eq!(count("a/src/b.rs", 90), 0);
        assert_eq!(count("a/src/b.rs", 110), 1);
        assert_eq!(count("a/src/b/tests.rs", 110), 0);
    }
}
