//! Rule: nothing unfinished, no test switched off, no task that a drain does not know, no test that sleeps.

use super::{
    Problem,
    source::{Line, lines, names},
};

/// Marks of something unfinished, written in halves so that this file passes its own rule.
const UNFINISHED: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"), concat!("HA", "CK")];
/// The call that only the drain may make.
const SPAWN: &str = concat!("tokio::", "spawn(");
const DRAIN: &str = "common/src/drain.rs";
/// On the line above, it excuses a task; clippy sees to the reason.
const EXPECTED: &str = "#[expect(clippy::disallowed_methods, reason";
/// The comment that allows a test to sleep, on the line itself or directly above it, with the reason.
const SLEEPS: &str = "// Sleeps:";

pub(super) fn check(path: &str, text: &str) -> Vec<Problem> {
    let lines = lines(path, text);
    let virtual_time = text.contains("start_paused") || text.contains("turmoil::");
    let mut problems = Vec::new();
    let mut above = "";
    for line in &lines {
        let mut tell = |text: String| problems.push(Problem::line(path, line.number, text));
        if let Some(mark) = UNFINISHED.iter().find(|mark| has_word(line.text, mark)) {
            tell(format!("`{mark}`: finish it, or open an issue"));
        }
        if line.code.trim_start().starts_with("#[ignore") {
            tell("a test is switched off: mend it or delete it".to_owned());
        }
        if !line.is_test && path != DRAIN && names(line.code, SPAWN) && !above.contains(EXPECTED) {
            tell("use drain.spawn, so that the daemon waits for the task when it stops".to_owned());
        }
        if sleeps(line) && !virtual_time && !allows(line.text) && !allows(above) {
            tell(format!("a test sleeps: wait for a condition, or say why above it (`{SLEEPS} reason`)"));
        }
        above = line.text;
    }
    problems
}

fn sleeps(line: &Line<'_>) -> bool {
    line.is_test && (names(line.code, "sleep(") || names(line.code, "sleep_ms("))
}

fn allows(line: &str) -> bool {
    line.split_once(SLEEPS).is_some_and(|(_, reason)| !reason.trim().is_empty())
}

fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|after| after.chars().next());
        ![before, after].into_iter().flatten().any(|c| c.is_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::{super::found, EXPECTED, UNFINISHED, check};

    fn assert_found(path: &str, text: &str, lines: &[usize]) {
        assert_eq!(found(check, path, text), lines, "{path}: {text}");
    }

    #[test]
    fn unfinished_marks_are_found_as_words() {
        for mark in UNFINISHED {
            assert_found("a.rs", &format!("fn a() {{}} // {mark}: mend\n"), &[1]);
            assert_found("a.rs", &format!("let a = \"{mark}{mark}\";\n"), &[]);
        }
    }

    #[test]
    fn tests_are_not_switched_off() {
        assert_found("tests/tests/a.rs", "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n", &[2]);
        assert_found("tests/tests/a.rs", "// We never write #[ignore].\n", &[]);
    }

    #[test]
    fn only_the_drain_starts_tasks() {
        assert_found("goproxy/src/relay.rs", "tokio::spawn(copy);\n", &[1]);
        assert_found("goproxy/src/relay.rs", "drain.spawn(copy);\n", &[]);
        let excused = format!("{EXPECTED} = \"it starts the drain\")]\ntokio::spawn(copy);\n");
        assert_found("goproxy/src/relay.rs", &excused, &[]);
        assert_found("common/src/drain.rs", "tokio::spawn(task);\n", &[]);
    }

    #[test]
    fn tests_wait_for_a_condition() {
        assert_found("tests/src/lib.rs", "thread::sleep(PAUSE);\n", &[1]);
        assert_found("goproxy/src/relay/tests.rs", "sleep(PAUSE).await;\n", &[1]);
        assert_found("tests/src/lib.rs", "// Sleeps: between two looks.\nthread::sleep(PAUSE);\n", &[]);
        assert_found("tests/src/lib.rs", "// Sleeps:\nthread::sleep(PAUSE);\n", &[2]);
        assert_found("goproxy/src/relay.rs", "time::sleep(ACCEPT_PAUSE).await;\n", &[]);
        assert_found("a/src/b/tests.rs", "#[tokio::test(start_paused = true)]\nsleep(MINUTE).await;\n", &[]);
    }
}
