//! Pure. JSON with indents, token by token: numbers keep their digits, keys their order, texts their escapes.
//!
//! It does not check: what is cut short is laid out as far as it goes.

/// Deeper levels are not indented further, so that a hostile nesting costs no more than its own length.
const MAX_INDENT: usize = 24;

/// Lays it out, until the result has `most` bytes or a little more. Returns the text and whether it is all.
pub(super) fn indent(text: &str, most: usize) -> (String, bool) {
    let mut out = String::with_capacity(text.len().saturating_mul(2).min(most));
    let mut depth = 0_usize;
    let mut in_text = false;
    let mut escaped = false;
    let mut tokens = text.chars().peekable();
    while let Some(token) = tokens.next() {
        if out.len() >= most {
            return (out, false);
        }
        if in_text {
            out.push(token);
            in_text = escaped || token != '"';
            escaped = !escaped && token == '\\';
            continue;
        }
        match token {
            ' ' | '\t' | '\r' | '\n' => {}
            '"' => {
                in_text = true;
                out.push(token);
            }
            '{' | '[' => {
                out.push(token);
                while tokens.next_if(char::is_ascii_whitespace).is_some() {}
                let close = if token == '{' { '}' } else { ']' };
                if tokens.next_if_eq(&close).is_some() {
                    out.push(close);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(token);
            }
            ',' => {
                out.push(token);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => out.push(token),
        }
    }
    (out, true)
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth.min(MAX_INDENT)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn layout_changes_white_space_only() {
        let check = |text: &str, expected: &str| assert_eq!(indent(text, 1000), (expected.to_owned(), true));
        check("{}", "{}");
        check("[ ]", "[]");
        check(
            r#"{"b":1.0E+400,"a":[1,{"x":"{,}\"\\"}]}"#,
            "{\n  \"b\": 1.0E+400,\n  \"a\": [\n    1,\n    {\n      \"x\": \"{,}\\\"\\\\\"\n    }\n  ]\n}",
        );
        check("123456789012345678901234567890", "123456789012345678901234567890");
        check(r#"{"cut": "sho"#, "{\n  \"cut\": \"sho");
        check("]]}", "\n]\n]\n}");
    }

    #[test]
    fn hostile_nesting_stays_small() {
        let (text, all) = indent(&"[".repeat(100_000), usize::MAX);
        assert!(all && text.len() < 100_000 * (2 * MAX_INDENT + 3), "{}", text.len());
        let (text, all) = indent(&"[".repeat(100_000), 5000);
        assert!(!all && text.len() < 5100, "{}", text.len());
    }

    proptest! {
        #[test]
        fn what_was_valid_means_the_same(text in r#"(\[|\]|\{|\}|,|:|"a\\\\"|"\\""|1|0\.10|true|null| )*"#) {
            let (laid_out, all) = indent(&text, usize::MAX);
            prop_assert!(all);
            let without = |text: &str| text.replace([' ', '\n'], "");
            prop_assert_eq!(without(&laid_out), without(&text));
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) {
                prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&laid_out).unwrap(), value);
            }
        }
    }
}
