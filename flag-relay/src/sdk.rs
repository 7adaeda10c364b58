//! Pure. What SDKs call themselves: `Python 1.7.3 Server`.

/// An SDK, as it calls itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sdk {
    pub(crate) language: String,
    pub(crate) version: String,
    /// `server` or `client`.
    pub(crate) kind: String,
}

impl Sdk {
    /// What cannot be one has no language: whoever makes names up does not fill our memory with them.
    pub(crate) fn parse(told: &str) -> Self {
        let words: Vec<&str> = told.split_whitespace().collect();
        let known = match words.as_slice() {
            [language, version, kind] => Some((*language, *version, *kind)),
            [language, version] => Some((*language, *version, "")),
            ["Python"] => Some(("Python", "", "")),
            _ => None,
        };
        let plain = |text: &str| {
            text.len() <= 24 && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-+#".contains(c))
        };
        let known = known.filter(|(language, version, kind)| {
            plain(language)
                && plain(version)
                && (version.is_empty() || version.starts_with(|c: char| c.is_ascii_digit()))
                && ["", "server", "client"].contains(&kind.to_lowercase().as_str())
        });
        let (language, version, kind) = known.unwrap_or(("unknown", "", ""));
        Self { language: language.to_owned(), version: version.to_owned(), kind: kind.to_lowercase() }
    }
}

#[cfg(test)]
mod tests {
    use super::Sdk;

    #[test]
    fn sdks_are_read_and_made_up_names_are_not() {
        let check = |told: &str, expected: [&str; 3]| {
            let sdk = Sdk::parse(told);
            assert_eq!([sdk.language.as_str(), &sdk.version, &sdk.kind], expected, "{told}");
        };
        check("Python 1.7.3 Server", ["Python", "1.7.3", "server"]);
        check("Javascript 1.32.0 Client", ["Javascript", "1.32.0", "client"]);
        check("Go 0.1.24", ["Go", "0.1.24", ""]);
        for bad in [
            "",
            "x",
            "Python one Server",
            "a b c d",
            "P\u{7}y 1 Server",
            &format!("{} 1 Server", "x".repeat(99)),
        ] {
            check(bad, ["unknown", "", ""]);
        }
    }
}
