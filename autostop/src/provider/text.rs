//! Pure. What providers say, made fit for a log, a page and an argument list.

/// The longest text of a provider that is kept, in characters.
pub const MOST_CHARS: usize = 300;
/// The longest address that is believed, in bytes; a host name has at most 253, and then a port.
const MOST_ADDRESS_BYTES: usize = 261;

/// On one line, without control characters or marks that turn the writing direction, and of bounded length.
pub fn clean(told: &str) -> String {
    let mut clean = String::new();
    let mut space = false;
    for char in told.chars() {
        if char.is_whitespace() || is_hidden(char) {
            space = !clean.is_empty();
            continue;
        }
        if clean.chars().count() + usize::from(space) >= MOST_CHARS {
            clean.push('…');
            return clean;
        }
        if std::mem::take(&mut space) {
            clean.push(' ');
        }
        clean.push(char);
    }
    clean
}

/// Does not print, or changes how others print.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// A host name or an address, with or without a port, as a provider told it; `None` when it is neither.
pub fn address(told: &str) -> Option<String> {
    let told = told.trim();
    if told.is_empty() || told.len() > MOST_ADDRESS_BYTES {
        return None;
    }
    let is_address = told.parse::<std::net::IpAddr>().is_ok() || told.parse::<std::net::SocketAddr>().is_ok();
    (is_address || is_name(told)).then(|| told.to_owned())
}

fn is_name(told: &str) -> bool {
    let (host, port) = told.split_once(':').map_or((told, None), |(host, port)| (host, Some(port)));
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    host.strip_suffix('.').unwrap_or(host).split('.').all(label)
        && port.is_none_or(|port| matches!(port.parse::<u16>(), Ok(1..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_or_a_log_would_obey_comes_through() {
        let check = |told: &str, expected: &str| assert_eq!(clean(told), expected);
        check("not enough\r\n\tcapacity ", "not enough capacity");
        check("\u{1b}[2Jgone", "[2Jgone");
        check("a\u{202e}b\u{0}\u{9b}c", "a b c");
        check("Größe: 3 µs", "Größe: 3 µs");
        check("", "");
        check("\n\n", "");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let cut = clean(&"é".repeat(10_000));
        assert_eq!(cut.chars().count(), MOST_CHARS + 1);
        assert!(cut.ends_with('…'));
        assert_eq!(clean(&"é".repeat(MOST_CHARS)).chars().count(), MOST_CHARS);
    }

    #[test]
    fn an_address_is_a_name_or_a_number_with_or_without_a_port() {
        let good = ["10.0.0.17", "10.0.0.17:5432", "::1", "[::1]:80", "db-1.internal", "db_1:5432", "host."];
        for told in good {
            assert_eq!(address(told).as_deref(), Some(told));
        }
        let long = "a".repeat(300);
        let bad =
            ["", " ", "a b", "http://x", "a/b", "-x", "x:0", "x:99999", "x:", "a..b", "a\nb", "[::1]", &long];
        for told in bad {
            assert_eq!(address(told), None, "{told}");
        }
        assert_eq!(address(" 10.0.0.1\n").as_deref(), Some("10.0.0.1"));
    }
}
