//! Pure. Guesses what a misspelled name was meant to be.

/// The known key that this unknown one was probably meant to be.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters =
        |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    let wrong = letters(wrong);
    known.into_iter().find(|key| {
        let key = letters(key);
        key == wrong
            || (wrong.len() > 3 && (key.contains(&wrong) || wrong.contains(&key)))
            || (wrong.len() > 3 && one_slip(&wrong, &key))
    })
}

/// Whether one letter too many, too few, wrong, or in its neighbor's place is all that differs.
fn one_slip(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (a.get(same..).unwrap_or_default(), b.get(same..).unwrap_or_default());
    match (a, b) {
        ([], [_]) | ([_], []) => true,
        ([_, rest @ ..], b) if rest == b => true,
        (a, [_, rest @ ..]) if rest == a => true,
        ([_, a @ ..], [_, b @ ..]) if a == b => true,
        ([a1, a2, a @ ..], [b1, b2, b @ ..]) => a1 == b2 && a2 == b1 && a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_a_part_or_another_spelling_finds_the_name() {
        let known = ["proxyPort", "authToken", "start", "stop", "rulesDir"];
        let check = |wrong, expected: Option<&str>| assert_eq!(nearest(wrong, known), expected, "{wrong}");
        check("proxy_port", Some("proxyPort"));
        check("token", Some("authToken"));
        check("strat", Some("start"));
        check("startt", Some("start"));
        check("ruleDir", Some("rulesDir"));
        check("atuhToken", Some("authToken"));
        check("sto", None);
        check("colour", None);
    }
}
