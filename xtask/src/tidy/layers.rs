//! Rule: a module whose first line says "Pure." takes time, chance and I/O as arguments. That generated
//! messages stop at `wire/convert.rs` is told there as a warning.

use super::{
    Problem,
    source::{lines, names},
};

/// What a pure module must not name, and what it is.
const IMPURE: [(&str, &str); 15] = [
    ("tokio", "the runtime"),
    ("TcpStream", "a socket"),
    ("TcpListener", "a socket"),
    ("UdpSocket", "a socket"),
    ("UnixStream", "a socket"),
    ("UnixListener", "a socket"),
    ("std::fs", "the file system"),
    ("fs::", "the file system"),
    ("SystemTime::now", "the clock"),
    ("Instant::now", "the clock"),
    ("Timestamp::now", "the clock"),
    ("Zoned::now", "the clock"),
    ("std::thread", "threads"),
    ("thread::", "threads"),
    ("std::env", "the environment"),
];
/// The one pure module that knows generated messages.
const CONVERT: &str = "common/src/wire/convert";

pub(super) fn check(path: &str, text: &str) -> Vec<Problem> {
    let is_pure = text.lines().next().is_some_and(|first| first.starts_with("//! Pure."));
    if !is_pure {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for line in lines(path, text).iter().filter(|line| !line.is_test) {
        let problem = |word: &str, what: &str| {
            Problem::line(
                path,
                line.number,
                format!("a pure module names `{word}`: {what} comes in as an argument"),
            )
        };
        let impure = IMPURE.iter().find(|(word, _)| names(line.code, word));
        problems.extend(impure.map(|(word, what)| problem(word, what)));
        if draws_globally(line.code) {
            problems.push(problem("fastrand", "chance"));
        }
    }
    problems.extend(names_the_wire(path, text));
    problems
}

/// The first line that does, outside of the one place that converts.
fn names_the_wire(path: &str, text: &str) -> Option<Problem> {
    let code = lines(path, text).into_iter().filter(|line| !line.is_test);
    let mut generated =
        code.filter(|line| names(line.code, "wire::") && !line.code.contains("wire::Malformed"));
    let first = generated.next().filter(|_| !path.starts_with(CONVERT))?;
    let text = "a pure module names the wire, but generated messages stop at wire/convert.rs";
    Some(Problem { is_warning: true, ..Problem::line(path, first.number, text) })
}

/// `fastrand::bool()` draws from a global; a `fastrand::Rng` that was passed in does not.
fn draws_globally(code: &str) -> bool {
    let global = |(_, rest): (&str, &str)| rest.starts_with(|c: char| c.is_ascii_lowercase());
    names(code, "rand::") || code.split_once("fastrand::").is_some_and(global)
}

#[cfg(test)]
mod tests {
    use super::{super::found, check};

    #[test]
    fn pure_modules_touch_nothing() {
        let check = |code: &str, fails: bool| {
            let pure = format!("//! Pure. A rule.\n{code}\n");
            assert_eq!(found(check, "goproxy/src/rule.rs", &pure), vec![2; usize::from(fails)], "{code}");
            let edge = format!("//! A socket.\n{code}\n");
            assert!(found(check, "goproxy/src/edge.rs", &edge).is_empty(), "{code}");
        };
        check("use tokio::net::TcpStream;", true);
        check("use std::fs;", true);
        check("let now = Instant::now();", true);
        check("std::thread::spawn(run);", true);
        check("if fastrand::bool() {", true);
        check("use common::wire::Batch;", true);
        check("fn reap(&mut self, now: Instant) {", false);
        check("fn jitter(rng: &mut fastrand::Rng) {", false);
        check("use common::wire::Malformed;", false);
        check("// Unlike tokio, this never waits.", false);
        check("let offs::x = 1;", false);
    }

    #[test]
    fn tests_of_a_pure_module_and_convert_may() {
        let text = "//! Pure. A rule.\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert!(found(check, "goproxy/src/rule.rs", text).is_empty());
        let text = "//! Pure. Both ways.\nuse crate::wire::Batch;\n";
        assert!(found(check, "common/src/wire/convert.rs", text).is_empty());
        assert!(found(check, "common/src/wire/convert/ids.rs", text).is_empty());
    }
}
