//! Rust source as the rules see it: lines of code without comments, and whether they are tests.
//!
//! It leans on rustfmt: an item ends on a line with its own indentation. That is right for every file
//! that passes `cargo fmt --check`, except where a string over several lines imitates code.

/// One line of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Counted from 1.
    pub(super) number: usize,
    /// The whole line.
    pub(super) text: &'a str,
    /// The line up to its comment.
    pub(super) code: &'a str,
    /// Whether it is compiled for tests only.
    pub(super) is_test: bool,
}

/// The lines of the file.
pub(super) fn lines<'a>(path: &str, text: &'a str) -> Vec<Line<'a>> {
    let whole_file = is_test_file(path);
    let mut lines = Vec::new();
    let mut test_item = TestItem::Outside;
    for (index, text) in text.lines().enumerate() {
        let code = without_comment(text);
        let is_test = test_item.take(code) || whole_file;
        lines.push(Line { number: index + 1, text, code, is_test });
    }
    lines
}

/// Files that hold nothing but tests, or the harness of the end-to-end tests.
pub(super) fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Where we are with respect to an item behind `#[cfg(test)]`.
#[derive(Clone, Copy)]
enum TestItem {
    Outside,
    /// After the attribute, before the item; the number is the indentation.
    Announced(usize),
    /// Within the braces of an item of this indentation.
    Inside(usize),
}

impl TestItem {
    /// Takes the next line; whether it belongs to a test.
    fn take(&mut self, code: &str) -> bool {
        let trimmed = code.trim();
        let indent = code.len() - code.trim_start().len();
        match *self {
            Self::Outside if trimmed.starts_with("#[cfg(test)]") => *self = Self::Announced(indent),
            Self::Outside => return false,
            Self::Announced(_) if trimmed.starts_with("#[") || trimmed.is_empty() => {}
            Self::Announced(at) if indent == at && !trimmed.ends_with([';', ',', '}']) => {
                *self = Self::Inside(at);
            }
            Self::Announced(_) => *self = Self::Outside,
            Self::Inside(at) if indent == at && trimmed.starts_with(['}', ')', ']']) => {
                // `) -> Result<()> {` only ends a list of arguments.
                if !trimmed.ends_with('{') {
                    *self = Self::Outside;
                }
            }
            Self::Inside(_) => {}
        }
        true
    }
}

/// Cuts a `//` comment that does not stand in a string.
fn without_comment(line: &str) -> &str {
    let mut quotes = 0;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match c {
            '"' if before != '\\' && before != '\'' => quotes += 1,
            '/' if before == '/' && quotes % 2 == 0 => return line.get(..at - 1).unwrap_or_default(),
            _ => {}
        }
        before = c;
    }
    line
}

/// Whether `word` stands in `code` with no letter, digit or underscore directly before it.
pub(super) fn names(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::{lines, names, without_comment};

    #[test]
    fn test_items_are_told_from_the_rest() {
        let check = |path: &str, text: &str, tests: &[usize]| {
            let lines = lines(path, text);
            let found: Vec<usize> =
                lines.iter().filter(|line| line.is_test).map(|line| line.number).collect();
            assert_eq!(found, tests, "{text}");
        };
        let module = ["fn a() {}", "#[cfg(test)]", "mod tests {", "    fn b() {", "    }", "}", "fn c() {}"];
        check("a.rs", &module.join("\n"), &[2, 3, 4, 5, 6]);
        check("a.rs", "#[cfg(test)]\nmod tests;\nfn a() {}", &[1, 2]);
        check("a.rs", "#[cfg(test)]\n#[path = \"b\"]\nmod tests;\nfn a() {}", &[1, 2, 3]);
        let arguments = ["#[cfg(test)]", "fn a(", "    b: u8,", ") -> u8 {", "    b", "}", "fn c() {}"];
        check("a.rs", &arguments.join("\n"), &[1, 2, 3, 4, 5, 6]);
        check("a/src/b/tests.rs", "fn a() {}", &[1]);
        check("tests/src/lib.rs", "fn a() {}", &[1]);
    }

    #[test]
    fn comments_are_cut_and_addresses_are_not() {
        assert_eq!(without_comment("let a = 1; // not b"), "let a = 1; ");
        assert_eq!(without_comment("get(\"http://a\")"), "get(\"http://a\")");
        assert_eq!(without_comment("/// Text."), "");
    }

    #[test]
    fn a_word_begins_where_no_other_goes_on() {
        assert!(names("use tokio::net;", "tokio"));
        assert!(!names("use my_tokio::net;", "tokio"));
        assert!(names("std::thread::spawn(", "thread::"));
    }
}
